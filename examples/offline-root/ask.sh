#!/bin/bash
# What a responder says of the issuing CA, as OpenSSL verifies it: for the time of this script, one that serves the root's
# pack, as it would on any machine that can read it.
set -euo pipefail
coproc responder { exec pkicode serve ocsp --bind 127.0.0.1:0 --pack public/ocsp/root-g1.pack 2>&1; }
trap 'kill "$responder_PID"' EXIT
while read -r line <&"${responder[0]}" && [[ $line != "listening on"* ]]; do :; done
openssl ocsp -issuer public/ca/root-g1.pem -cert public/ca/issuing-g1.pem -CAfile public/bundle/trust.pem -no_nonce \
    -url "http://127.0.0.1:${line##*:}" 2>&1
