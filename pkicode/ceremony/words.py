"""A digest in words that can be read out: proquints (arXiv 0901.4016), five letters for sixteen bits."""

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"


def words(digest: bytes) -> str:
    """`lusab babad ...`: one word for each two octets.

    >>> words(bytes((127, 0, 0, 1)))
    'lusab babad'
    """
    return " ".join(_word(int.from_bytes(digest[place : place + 2])) for place in range(0, len(digest), 2))


def _word(number: int) -> str:
    return "".join(
        letters[number >> shift & len(letters) - 1]
        for letters, shift in ((_CONSONANTS, 12), (_VOWELS, 10), (_CONSONANTS, 6), (_VOWELS, 4), (_CONSONANTS, 0))
    )
