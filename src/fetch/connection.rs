//! One request on one connection of its own.

use super::guard::Target;
use super::{Answer, CONNECT, FIRST_BYTE, FetchError, Validators};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Fixed: it names no version and no gateway.
const USER_AGENT: &str = "Segel";
/// Octets of the answer's header section, and its fields.
const HEADER_SECTION: usize = 32 << 10;
const HEADER_FIELDS: usize = 64;
/// Octets of a field that is kept, such as an ETag.
const FIELD: usize = 256;

pub(super) enum Reply {
    Answer(Answer),
    Redirect(String),
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// To the first address that answers.
pub(super) async fn connect(addresses: &[IpAddr], port: u16, host: &str) -> Result<TcpStream, FetchError> {
    let mut last = FetchError::Connection { host: host.to_owned(), problem: "it has no address".to_owned() };
    // The rest of many addresses is no better than the first ones.
    for address in addresses.iter().take(4) {
        match timeout(CONNECT, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = FetchError::Connection { host: host.to_owned(), problem: error.to_string() };
            }
            Err(_) => last = FetchError::Slow(CONNECT),
        }
    }
    Err(last)
}

/// CONNECT (RFC 9110 section 9.3.6): the proxy passes octets on to an https server.
pub(super) async fn tunnel(mut stream: TcpStream, target: &Target) -> Result<TcpStream, FetchError> {
    let broken = |problem: &str| FetchError::Broken(format!("the proxy {problem}"));
    let (host, port) = (&target.host, target.port);
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {USER_AGENT}\r\n\r\n");
    let dialogue = async {
        stream.write_all(request.as_bytes()).await.map_err(|_| broken("hung up"))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Octet by octet: what comes after the header section is the server's.
            let octet = stream.read_u8().await.map_err(|_| broken("hung up"))?;
            head.push(octet);
            if head.len() > HEADER_SECTION {
                return Err(broken("says too much"));
            }
        }
        let code = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
        match code {
            Some(200..=299) if head.starts_with(b"HTTP/1.") => Ok(()),
            Some(code) => Err(FetchError::Status(code)),
            None => Err(broken("speaks no HTTP")),
        }
    };
    timeout(FIRST_BYTE, dialogue).await.unwrap_or(Err(FetchError::Slow(FIRST_BYTE)))?;
    Ok(stream)
}

/// GET, and the answer whole.
pub(super) async fn get(
    stream: Stream,
    target: &Target,
    absolute: bool,
    known: &Validators,
    most: usize,
) -> Result<Reply, FetchError> {
    let broken = |error: hyper::Error| FetchError::Broken(with_cause(&error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_SECTION)
        .max_headers(HEADER_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let driver = tokio::spawn(connection);
    let ask = async {
        let request = request(target, absolute, known)?;
        let sent = timeout(FIRST_BYTE, sender.send_request(request)).await;
        let response = sent.map_err(|_| FetchError::Slow(FIRST_BYTE))?.map_err(broken)?;
        read(response, known, most).await
    };
    let done = ask.await;
    // Whatever the server still means to say.
    driver.abort();
    done
}

fn request(target: &Target, absolute: bool, known: &Validators) -> Result<Request<Empty<Bytes>>, FetchError> {
    let mut url = target.url.clone();
    url.set_fragment(None);
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", target.host),
        None => target.host.clone(),
    };
    let mut request = Request::get(if absolute { url.as_str() } else { path.as_str() })
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    for (name, value) in [(header::IF_NONE_MATCH, &known.etag), (header::IF_MODIFIED_SINCE, &known.modified)] {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            request = request.header(name, value);
        }
    }
    request.body(Empty::new()).map_err(|error| FetchError::Broken(error.to_string()))
}

async fn read(response: Response<Incoming>, known: &Validators, most: usize) -> Result<Reply, FetchError> {
    let fields = response.headers();
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if *known != Validators::default() => return Ok(Reply::Answer(Answer::NotModified)),
        status if status.is_redirection() => {
            let location = fields.get(header::LOCATION).and_then(|value| value.to_str().ok());
            return match location {
                Some(location) => Ok(Reply::Redirect(location.to_owned())),
                None => Err(FetchError::Redirect("a redirect to nowhere")),
            };
        }
        status => return Err(FetchError::Status(status.as_u16())),
    }
    // Nobody asked for an encoding, and none is undone.
    if fields.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(FetchError::Broken("an encoding that nobody asked for".to_owned()));
    }
    let validators = Validators { etag: kept(fields, &header::ETAG), modified: kept(fields, &header::LAST_MODIFIED) };
    let body = response.into_body();
    if hyper::body::Body::size_hint(&body).lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(FetchError::TooLarge(most));
    }
    Ok(Reply::Answer(Answer::Content(collect(body, most).await?, validators)))
}

/// All of the body; hyper reports one that ends before its Content-Length or its last chunk.
async fn collect(mut body: Incoming, most: usize) -> Result<Bytes, FetchError> {
    let mut content = Vec::new();
    loop {
        let frame = match timeout(FIRST_BYTE, body.frame()).await {
            Err(_) => return Err(FetchError::Slow(FIRST_BYTE)),
            Ok(None) => return Ok(content.into()),
            Ok(Some(Err(error))) => return Err(FetchError::Broken(with_cause(&error))),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing that is looked at.
        let Ok(data) = frame.into_data() else { continue };
        if content.len().saturating_add(data.len()) > most {
            return Err(FetchError::TooLarge(most));
        }
        content.extend_from_slice(&data);
    }
}

fn kept(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = fields.get(name)?.to_str().ok()?;
    (text.len() <= FIELD).then(|| text.to_owned())
}

/// hyper's own words are short; what the connection says stands behind them.
fn with_cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
