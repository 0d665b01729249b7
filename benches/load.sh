# load.sh KEYS FOLDER OCTETS: a signed and a signed and encrypted mail for `mload -F`, header fields of MIME and body, by OpenSSL.
set -eu
K=$1 D=$2 SIZE=$3
mkdir -p "$D"
{ printf 'Content-Type: text/plain\r\n\r\n'; head -c "$((SIZE * 3 / 4))" /dev/urandom | openssl base64 | sed 's/$/\r/'; } >"$D/text"
openssl cms -sign -binary -crlfeol -in "$D/text" -signer "$K/alice-rsa2048.crt" -inkey "$K/alice-rsa2048.key" -out "$D/signed"
openssl cms -encrypt -binary -crlfeol -aes-256-cbc -in "$D/signed" -out "$D/encrypted" "$K/alice-rsa2048.crt"
for f in signed encrypted; do sed -i 's/\r*$/\r/' "$D/$f"; done
