#!/bin/sh
# Makes what the scenario needs: two authorities that are trusted, a certificate of each for the same names, the pin of the
# one that is meant, and the authority of the proxy. Each key goes to the one container that reads it.
set -eu
cd /tmp

# authority NAME: a certificate authority, NAME.pem and NAME.key.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$1.key" -out "$1.pem" \
    -config /dev/stdin <<END
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = $1
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
}

# leaf AUTHORITY FOLDER: a certificate for the names of the scenario and its key, for the user of the origins.
leaf() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$2/key.pem" -subj /CN=bank.example |
    openssl x509 -req -CA "$1.pem" -CAkey "$1.key" -CAcreateserial -days 7 -extfile /scenario/leaf.cnf -out "$2/chain.pem"
  chmod 400 "$2/key.pem"
  chown 65533:65533 "$2/key.pem"
}

# pin: the pin of the public key that is read.
pin() {
  echo "sha256/$(openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64)"
}

rm -rf /public/* /authority/* /origin/* /rogue/*
for name in "Trusted authority" "Other trusted authority" "pinproxy of the scenario"; do authority "$name"; done
leaf "Trusted authority" /origin
leaf "Other trusted authority" /rogue
cat "Trusted authority.pem" "Other trusted authority.pem" >/public/roots.pem
cat >/public/pins.toml <<END
[[pinset]]
name = "bank"
hosts = ["bank.example"]
leaf_pins = ["$(openssl x509 -in /origin/chain.pem -noout -pubkey | pin)"]
backup = ["$(openssl ecparam -genkey -name prime256v1 -noout | openssl pkey -pubout | pin)"]
END
cp "pinproxy of the scenario.pem" /authority/ca.pem
cp "pinproxy of the scenario.key" /authority/ca.key
chmod 400 /authority/ca.key
chown 65532:65532 /authority/ca.key
# What the client has to trust, and all that it sees of that authority.
cp /authority/ca.pem /public/ca.pem
echo "made the certificates of the scenario"
