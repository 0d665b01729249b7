# load.sh KEYS FOLDER OCTETS: a signed and a signed and encrypted mail for `mload -F`, header fields of MIME and body, by OpenSSL.
set -eu
K=$1 D=$2 SIZE=$3
mkdir -p "$D"
{ printf 'Content-Type: text/plain\r\n\r\n'; head -c "$((SIZE * 3 / 4))" /dev/urandom | openssl base64 | sed 's/$/\r/'; } >"$D/text"
crlf() { sed 's/\r*$/\r/' "$1" >"$1.crlf" && mv "$1.crlf" "$1"; }
openssl cms -sign -binary -crlfeol -in "$D/text" -signer "$K/alice-rsa2048.crt" -inkey "$K/alice-rsa2048.key" -out "$D/signed"
crlf "$D/signed"
openssl cms -encrypt -binary -crlfeol -aes-256-cbc -in "$D/signed" -out "$D/encrypted" "$K/alice-rsa2048.crt"
crlf "$D/encrypted"
