/// What a path is asked to be good for (`--purpose`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Any,
    EmailSign,
    EmailEncrypt,
    Ocsp,
    Tsa,
    TlsServer,
    TlsClient,
}
