"""CFSSL's words for what pki.toml says otherwise: who comes from there is told, and nothing is translated."""

_DATES = "nothing: dates follow from the day of issuance"
_DERIVED = "nothing: it follows from the `publish` of the CA and the target's `base_url`"
_ALG = "`alg` with the size in it, as in rsa-2048 or ec-p256"
_OWN_CA = "a [ca.NAME] of its own, with `issuer` and `path_len`"

HERE = {
    "expiry": "`validity`",
    "usages": "`usage`, by the names of RFC 5280, and `eku`",
    "ca_constraint": _OWN_CA,
    "is_ca": _OWN_CA,
    "max_path_len": "`path_len` of a [ca.NAME]",
    "max_path_len_zero": "`path_len = 0` of a [ca.NAME]",
    "pathlen": "`path_len` of a [ca.NAME]",
    "pathlenzero": "`path_len = 0` of a [ca.NAME]",
    "crl_url": _DERIVED,
    "issuer_urls": _DERIVED,
    "ocsp_url": '`ocsp = { url = "..." }` of the CA',
    "name_whitelist": "`allow`: names and domains, no regular expression",
    "copy_extensions": "`copy`: names only, which must pass `allow`",
    "allowed_extensions": "`copy`: names only, which must pass `allow`",
    "not_before": _DATES,
    "not_after": _DATES,
    "hosts": "`dns`, `ip`, `email` or `uri`",
    "CN": "`cn`",
    "names": '`subject`, as in { o = "Corp", c = "FI" }',
    "algo": _ALG,
    "size": _ALG,
    "signing": "[profile.NAME]",
    "profiles": "[profile.NAME]",
    "auth_key": "nothing: there is no API; who may run apply with the keystore may sign",
    "auth_keys": "nothing: there is no API; who may run apply with the keystore may sign",
    "remote": "nothing: there is no API; who may run apply with the keystore may sign",
    "remotes": "nothing: there is no API; who may run apply with the keystore may sign",
}
