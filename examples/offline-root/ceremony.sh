#!/bin/bash
# One round of a ceremony: what waits in this folder is carried to the machine with the keys, signed there, and brought
# back.  That machine is played by a folder beside this one.  Nothing but the two files goes from one to the other.
set -euo pipefail
here=$PWD offline=$(cd ../offline && pwd) stick=$(mktemp -d)

pkicode ceremony export "$stick/request.json" > exported.txt
cat exported.txt
words=$(sed -n 's/^words: //p' exported.txt)        # on paper, or by telephone: never with the file

cd "$offline"
pkicode ceremony sign "$stick/request.json" --keystore keys/keys.db --passphrase-file passphrase \
    --words "$words" --out "$stick/response.json"

cd "$here"
pkicode ceremony import "$stick/response.json" ${PKICODE_NOW:+--allow-clock}
cp "$stick/response.json" last-response.json
rm -r "$stick"
