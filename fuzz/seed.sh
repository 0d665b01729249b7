#!/bin/sh
# Makes what the fuzz targets begin with: keys, certificates, CRLs and mail by OpenSSL, and small inputs of every kind.
# Mail of others in $SEGEL_CORPORA is copied in too, where it is set. Usage: seed.sh DIR [small]
set -eu
out=${1:?usage: seed.sh DIR [small]}
size=${2:-all}
if [ "$size" = small ]; then
    contents=text signers="siti gone" ciphers="aes256 aes-256-gcm" inner=s1 choices=2
else
    contents="text multi" signers="siti siti2 gone" ciphers="aes128 aes256 des3 aes-128-gcm aes-256-gcm" inner="text s1 s2" choices=6
fi
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$out"
mkdir -p "$out/pki/contents" "$out/work"
out=$(cd "$out" && pwd)
for target in ber certificate cms config crl headers inspect mime pkcs12 readers signing smtp_commands smtp_data; do
    mkdir -p "$out/corpus/$target"
done
work=$out/work
pki=$out/pki
cd "$work"

# --- a CA of two levels, people, and one who was revoked ---
cat > ext.cnf <<'END'
[req]
distinguished_name=dn
[dn]
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[siti]
subjectAltName=email:siti@example.id
extendedKeyUsage=emailProtection
subjectKeyIdentifier=hash
[budi]
subjectAltName=email:budi@example.id
extendedKeyUsage=emailProtection
subjectKeyIdentifier=hash
END
new() { # NAME SECTION SUBJECT ISSUER KEY…
    name=$1 section=$2 subject=$3 issuer=$4
    shift 4
    openssl genpkey "$@" -out "$name.key"
    openssl req -new -config ext.cnf -key "$name.key" -subj "$subject" -out csr
    if [ "$issuer" = - ]; then by="-signkey $name.key"; else by="-CA $issuer.pem -CAkey $issuer.key"; fi
    serial=0x$(printf '%s' "$name" | openssl sha256 -r | cut -c1-14)
    # shellcheck disable=SC2086
    openssl x509 -req -in csr $by -days 3650 -set_serial "$serial" -extfile ext.cnf -extensions "$section" -out "$name.pem"
    openssl x509 -in "$name.pem" -outform DER -out "$out/corpus/certificate/$name"
    cp "$name.pem" "$out/corpus/certificate/$name.pem"
}
ec="-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
rsa="-algorithm RSA -pkeyopt rsa_keygen_bits:2048"
# shellcheck disable=SC2086
{
    new root ca "/CN=Test Root" - $ec
    new issuing ca "/CN=Test Issuing" root $ec
    new siti siti "/CN=Siti/C=ID" issuing $ec
    new siti2 siti "/CN=Siti/C=ID" issuing $rsa
    new budi budi "/CN=Budi" issuing $ec
    new gone budi "/CN=Budi/OU=gone" issuing $ec
} 2> /dev/null
cp root.pem "$pki/anchor.pem"
cat issuing.pem siti.pem siti2.pem budi.pem gone.pem > "$pki/certificates.pem"
cp gone.pem "$pki/revoked.pem"
for name in siti siti2 budi; do
    openssl pkcs8 -topk8 -nocrypt -outform DER -in $name.key -out "$pki/$name.p8"
done
crl() { # ISSUER INDEX
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s\ndefault_md=sha256\n' "$2" > crl.cnf
    openssl ca -gencrl -config crl.cnf -crldays 3650 -cert "$1.pem" -keyfile "$1.key" -out crl.pem 2> /dev/null
    openssl crl -in crl.pem -outform DER -out "$pki/$1.crl"
    cp "$pki/$1.crl" "$out/corpus/crl/$1"
    cp crl.pem "$out/corpus/crl/$1.pem"
}
: > none.txt
serial=$(openssl x509 -in gone.pem -noout -serial | cut -d= -f2)
printf 'R\t491231235959Z\t250101000000Z,keyCompromise\t%s\tunknown\t/CN=Budi\n' "$serial" > gone.txt
crl root none.txt
crl issuing gone.txt

# --- CMS and mail ---
number=0
signed() { # CONTENT-FILE: from now on it counts as signed
    number=$((number + 1))
    cp "$1" "$pki/contents/$number"
}
mail() { # NAME FILE [FROM]: a message of its own, and its structures
    { printf 'From: %s\r\nTo: x@example.org\r\nSubject: s\r\n' "${3:-siti@example.id}"; sed 's/\r$//; s/$/\r/' "$2"; } > "$work/mail-$1"
    for target in inspect mime headers readers signing; do
        { cat "$work/mail-$1"; [ $target != inspect ] || printf 'abcdefgh'; } > "$out/corpus/$target/$1"
    done
    i=0
    while [ $i -lt $choices ]; do # other facts
        { cat "$work/mail-$1"; printf 'choice%02d' $i; } > "$out/corpus/inspect/$1-$i"
        i=$((i + 1))
    done
}
structure() { # NAME: DER or BER in $work/cms
    cp "$work/cms" "$out/corpus/cms/$1"
    cp "$work/cms" "$out/corpus/ber/$1"
}
printf 'Content-Type: text/plain; charset=us-ascii\r\n\r\nHalo,\r\n\r\nini surat nomor satu.\r\n' > text
printf 'Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nHalo, nomor dua\r\n--b1\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--b1--\r\n' > multi
signed text
signed multi
cms() { openssl cms "$@" 2> /dev/null; }
for content in $contents; do
    for signer in $signers; do
        from=siti@example.id
        [ $signer != gone ] || from=budi@example.id
        cms -sign -binary -in $content -signer $signer.pem -inkey $signer.key -certfile issuing.pem -out m
        mail detached-$content-$signer m $from
        cms -sign -binary -nodetach -in $content -signer $signer.pem -inkey $signer.key -certfile issuing.pem -out m
        mail opaque-$content-$signer m $from
        cms -sign -binary -nodetach -in $content -signer $signer.pem -inkey $signer.key -certfile issuing.pem -outform DER -out cms
        structure opaque-$content-$signer
    done
    cms -sign -binary -stream -nodetach -in $content -signer siti.pem -inkey siti.key -certfile issuing.pem -outform DER -out cms
    structure stream-$content
    cms -sign -binary -keyid -noattr -in $content -signer siti.pem -inkey siti.key -certfile issuing.pem -out m
    mail keyid-$content m
    cms -sign -binary -in $content -signer siti.pem -inkey siti.key -signer siti2.pem -inkey siti2.key -certfile issuing.pem -out m
    mail two-$content m
    cms -sign -binary -md sha1 -in $content -signer siti.pem -inkey siti.key -certfile issuing.pem -out m
    mail weak-$content m
    cms -sign -binary -in $content -signer siti.pem -inkey siti.key -out m
    mail without-issuer-$content m
done
cms -sign -binary -in text -signer siti.pem -inkey siti.key -certfile issuing.pem -out s1
cms -sign -binary -nodetach -in text -signer siti.pem -inkey siti.key -certfile issuing.pem -out s2
for cipher in $ciphers; do
    for content in $inner; do
        sed 's/\r$//; s/$/\r/' $content > c
        for options in "siti2.pem" "-recip siti.pem -keyopt ecdh_kdf_md:sha256" "-recip siti2.pem -keyopt rsa_padding_mode:oaep" "-keyid budi.pem siti2.pem"; do
            # shellcheck disable=SC2086
            if cms -encrypt -binary -$cipher -in c -out m $options; then
                name=$(printf '%s' "$cipher-$content-$options" | tr -c 'a-z0-9\n' '_')
                mail "$name" m
                # shellcheck disable=SC2086
                cms -encrypt -binary -$cipher -in c -outform DER -out cms $options
                structure "$name"
            fi
        done
    done
done
# Signed around encryption, compressed, certificates only, and one in another.
cms -encrypt -binary -aes256 -in s1 -out e siti2.pem
sed 's/\r$//; s/$/\r/' e > e2
signed e2
cms -sign -binary -in e2 -signer siti.pem -inkey siti.key -certfile issuing.pem -out m
mail triple m
if cms -compress -binary -in text -out z; then
    mail compressed z
    sed 's/\r$//; s/$/\r/' z > z2
    signed z2
    cms -sign -binary -in z2 -signer siti.pem -inkey siti.key -certfile issuing.pem -out m
    mail signed-compressed m
    cms -compress -binary -in s1 -out m
    mail compressed-signed m
    cms -compress -binary -in text -outform DER -out cms
    structure compressed
fi
openssl crl2pkcs7 -nocrl -certfile issuing.pem -certfile siti.pem -outform DER -out cms
structure certs-only
{ printf 'Content-Type: application/pkcs7-mime; smime-type=certs-only\r\nContent-Transfer-Encoding: base64\r\n\r\n'; openssl base64 -in cms; } > m
mail certs-only m
{ printf 'Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\n'; sed 's/\r$//; s/$/\r/' s1; printf -- '--out\r\nContent-Type: text/plain\r\n\r\nfooter\r\n--out--\r\n'; } > m
mail partial m
{ printf 'Content-Type: message/rfc822\r\n\r\n'; cat "$work/mail-detached-text-siti"; } > m
mail forwarded m
for file in "$out"/corpus/certificate/* "$out"/corpus/crl/*; do
    case $file in *.pem) ;; *) cp "$file" "$out/corpus/ber/$(basename "$file")" ;; esac
done
printf '\060\200\044\200\004\003abc\004\002de\000\000\003\002\005\240\000\000' > "$out/corpus/ber/indefinite"
printf '\060\203\000\000\003\002\001\005' > "$out/corpus/ber/long-length"

# --- MIME and headers ---
printf 'From: a@b.example\r\nContent-Type: multipart/alternative; boundary="x y"\r\n\r\npreamble\r\n--x y\r\n\r\nplain\r\n--x y \r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=A9=\r\n\r\n--x y--\r\nepilogue\r\n' > m1
printf 'From: a@b.example\r\nContent-Type: multipart/digest; boundary*0="a"; boundary*1="b"\r\n\r\n--ab\r\n\r\nSubject: x\r\n\r\ny\r\n--ab\r\n\r\nSubject: z\r\n\r\n--abc\r\n--ab--\r\n' > m2
printf 'From: "Siti, \\"x\\"" <siti@example.id> (comment)\r\nSender: =?utf-8?q?Budi_=40?= <budi@example.id>\r\nAuthentication-Results: mx.example; dkim=pass\r\nAuthentication-Results: (c) "mx.example" 1; spf=pass\r\nContent-Type: text/plain; charset="utf-8"; name*=utf-8'"''"'%%C3%%A9.txt\r\nContent-Disposition: attachment; filename="a.txt"\r\n\r\n\303\251 tiga\r\n' > m3
printf 'From: =?iso-8859-1?b?U2l0aQ==?= =?utf-8?q?_x?= <siti@xn--bcher-kva.example>\r\nReturn-Path: <a@b.example>\r\nSegel-Verdict: valid\r\nTo: a@b.example,\r\n c@d.example, g: e@f.example;\r\nContent-Transfer-Encoding: base64\r\n\r\nSGFsbw==\r\n' > m4
printf 'From : a@b.example\nFrom: c@d.example\nSubject: x\n \n y\n\nFrom x\n.\n  blank  \nlong\n' > m5
printf 'From: siti@example.id\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFrom here \303\251  \r\n.\r\n' > m6
for file in m1 m2 m3 m4 m5 m6; do
    for target in inspect mime headers readers signing; do cp $file "$out/corpus/$target/$file"; done
done
for text in 'siti@example.id' '"a b"@[IPv6:2001:db8::1]' 'x@b\303\274cher.example' '"\\\\a\\""@EXAMPLE.id'; do
    printf "$text\n" > "$out/corpus/headers/$(printf '%s' "$text" | tr -c 'a-z0-9\n' '_')"
done

# --- SMTP ---
n=0
say() { # LINES: a dialogue, and the same as content
    n=$((n + 1))
    printf "$1" > "$out/corpus/smtp_commands/$n"
    printf 'choice%02d' $n >> "$out/corpus/smtp_commands/$n"
    cp "$out/corpus/smtp_commands/$n" "$out/corpus/smtp_data/c$n"
}
say 'EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<u@own.example>\r\nDATA\r\nSubject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n'
say 'EHLO c.example\r\nSTARTTLS\r\nEHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nRCPT TO:<"a b"@own.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+20b@x\r\nDATA\r\nx\n.\n\r\n.\r\nRSET\r\n'
say 'EHLO [IPv6:2001:db8::1]\r\nAUTH PLAIN AHNpdGkAcmFoYXNpYQ==\r\nMAIL FROM:<@r.example:a@b.example> RET=HDRS ENVID=x AUTH=<>\r\nRCPT TO:<u@own.example>\r\nDATA\r\n.\r\nNOOP\r\n'
say 'HELO c\r\nAUTH EXTERNAL =\r\nAUTH PLAIN\r\nAHNpdGkAcmFoYXNpYQ==\r\nVRFY x\r\nEXPN y\r\nHELP\r\nBDAT 5 LAST\r\nfoo\r\nbar\nDATA\r\n'
say 'EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@own.example>\r\nDATA\r\n\r\n.\rMAIL FROM:<x@y.example>\r\n\r.\r\n\r\n.\r\r\n.\r\n'
say 'EHLO c.example\r\nMAIL FROM:<xa@b.example>\r\nMAIL FROM:<a@b.example> SIZE=99999\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@own.example>\r\nRCPT TO:<1@o.example>\r\nRCPT TO:<2@o.example>\r\nRCPT TO:<3@o.example>\r\nRCPT TO:<4@o.example>\r\nDATA\r\n123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789\r\n.\r\n'
for text in '.' '\r\n.\r\n' 'a@b.example\r\n.x\r\n..\r\n' '"q r"@b.example\r\nbody' '\r\n.\r' 'x\n.\n' '\000' 'u@b\303\274.example\r\n\303\251'; do say "$text"; done

# --- key files and configuration ---
for name in siti siti2; do
    openssl pkcs12 -export -in $name.pem -inkey $name.key -certfile issuing.pem -passout pass:rahasia -iter 1 -out "$out/corpus/pkcs12/$name"
    openssl pkcs12 -export -legacy -in $name.pem -inkey $name.key -passout pass:rahasia -iter 1 -out "$out/corpus/pkcs12/$name-legacy" 2> /dev/null || true
    cat $name.pem $name.key > "$out/corpus/pkcs12/$name.pem"
    openssl pkcs8 -topk8 -in $name.key -passout pass:rahasia -iter 1 > key.pem && cat $name.pem key.pem > "$out/corpus/pkcs12/$name-sealed.pem"
done
grep -v / "$here/../config/segel.toml" > "$out/corpus/config/example" || true
printf '[gateway]\nhostname = "gate.example"\n[[listener]]\nname = "dalam"\nbind = "127.0.0.1:10025"\nside = "inside"\nclients = ["127.0.0.1"]\n[[domain]]\nname = "example.id"\n' > "$out/corpus/config/small"

# --- mail, CMS and certificates of others ---
if [ "$size" = all ] && [ -n "${SEGEL_CORPORA:-}" ]; then
    copy() { # TARGETS FIND-ARGUMENTS…
        targets=$1
        shift
        find "$SEGEL_CORPORA" -type f -size -40k "$@" | sort | awk "NR % ${SEGEL_FUZZ_EVERY:-3} == 0" | while read -r file; do
            name=$(printf '%s' "$file" | openssl sha256 -r | cut -c1-16)
            for target in $targets; do cp "$file" "$out/corpus/$target/o-$name"; done
        done
    }
    copy "mime headers readers signing inspect" \( -name '*.eml' -o -name '*.txt' -o -name '*.msg' -o -name '*.raw' \)
    copy "cms ber" \( -name '*.p7m' -o -name '*.p7s' -o -name '*.p7c' -o -name '*.cms' -o -path '*fuzz-corpora*cms*' \)
    copy "certificate ber" \( -name '*.crt' -o -name '*.der' -o -name '*.cer' -o -name '*.pem' \)
    copy "crl ber" -name '*.crl'
    copy pkcs12 -name '*.p12'
fi
chmod -R u+w "$out/corpus"
for target in "$out"/corpus/*; do printf '%s: %s\n' "$(basename "$target")" "$(find "$target" -type f | wc -l)"; done
