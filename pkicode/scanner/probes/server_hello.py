"""ServerHello: what a server answers to the hello of a modern client, as it says it; told by name alone."""

from pkicode.scanner.finding import Finding, Grade
from pkicode.scanner.session import Known
from pkicode.tls.hello import NAMES


def judge(known: Known) -> list[Finding]:
    """The raw material of fingerprints; it takes no connection of its own."""
    first = known.first.value
    if first is None or first.hello is None:
        detail = "The hello of a modern client was not answered."
        return [Finding("Fingerprint", "ServerHello", Grade.UNKNOWN, "", detail)]
    hello = first.hello
    extensions = "-".join(f"{number:04x}" for number in hello.extensions)
    value = f"{NAMES[first.version]} {hello.suite:04x} {extensions}".rstrip()
    told = "Version, suite and extensions in the order in which it names them: alike from the same stack, set alike."
    return [Finding("Fingerprint", "ServerHello", Grade.GOOD, value, told)]
