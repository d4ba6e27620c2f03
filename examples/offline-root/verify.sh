#!/bin/bash
# The server's chain, as OpenSSL checks it at an instant, with all lists, and with a bundle: the published one if none is
# given.
set -euo pipefail
for crl in public/crl/*.crl; do openssl crl -inform DER -in "$crl"; done > crls.pem
openssl verify -x509_strict -attime "$1" -no-CApath -no-CAstore -CAfile "${2:-public/bundle/trust.pem}" \
    -untrusted out/portal.pem -crl_check -crl_check_all -CRLfile crls.pem out/portal.pem > verified.txt
