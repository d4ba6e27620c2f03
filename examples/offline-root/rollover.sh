#!/bin/bash
# Five years on, in the copy that years.sh left: the next root.  The old one signs its key too, so that clients that have
# only the old bundle go on: they verify the server's chain on every day of what follows.
set -euo pipefail
cd ../rehearsal
cp public/bundle/trust.pem old-trust.pem
now=$(($(date +%s) + 1830 * 86400))

clock() { now=$((now + $1 * 86400)) PKICODE_NOW=$(date -u -d "@$now" +%FT%TZ) && export PKICODE_NOW; }
applied() {                                             # with as many rounds as it takes
    until pkicode -q apply -y --allow-clock "$@" > applied.txt; do
        ./ceremony.sh > ceremony.txt
        sed -n 's/^certificate *\(.*\)/signed: \1/p' ceremony.txt | grep "  by "
    done
}

clock 0
(cd ../offline && pkicode ceremony init ca.root@2 --keystore keys/keys.db --passphrase-file passphrase > made.txt)
mv ../offline/ca.root@2.csr ceremony/
applied --allow root-change=root
for day in {1..6}; do
    clock 7
    applied
    ./verify.sh "$now" old-trust.pem                    # clients that have not fetched the new one
    ./verify.sh "$now"
done
openssl x509 -in public/ca/root-g2-by-root-g1.pem -noout -subject -issuer
