# Segel's outside listener on 127.0.0.1:IN_PORT, everything to 127.0.0.1:SINK_PORT, state below WORK, in the foreground: a
# system under test like those of $SEGEL_PERF/suts. SEGEL names the binary; KEYS is a folder that `mkcerts.sh` of
# $SEGEL_PERF/crypto has filled (the load is made from it); MODE is verify (no own key) or decrypt (bob's).
set -eu
C=$WORK/segel.toml
mkdir -p "$WORK/data"
cat >"$C" <<X
[gateway]
hostname = "gw.test"
data_dir = "$WORK/data"
[[listener]]
name = "luar"
bind = "127.0.0.1:$IN_PORT"
side = "outside"
[[domain]]
name = "dst.test"
deliver_to = "smtp://127.0.0.1:$SINK_PORT"
[outbound]
route = "smtp://127.0.0.1:$SINK_PORT"
[[trust.anchor]]
file = "$KEYS/ca.crt"
revocation = "none"
[fetch]
enabled = false
[console]
bind = "127.0.0.1:$((IN_PORT + 1))"
X
case ${MODE:-verify} in
verify) ;;
decrypt)
	echo perf >"$WORK/password"
	openssl pkcs12 -export -in "$KEYS/alice-rsa2048.crt" -inkey "$KEYS/alice-rsa2048.key" -passout file:"$WORK/password" -out "$WORK/bob.p12"
	"$SEGEL" key import -c "$C" --address bob@dst.test --password-file "$WORK/password" "$WORK/bob.p12"
	;;
*) echo "MODE ${MODE}?" >&2; exit 2 ;;
esac
exec "$SEGEL" serve -c "$C"
