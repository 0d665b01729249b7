//! `segel health`: asks the running gateway whether it can take mail. For containers and scripts that have no HTTP client.

use super::print::Printer;
use super::{CliError, Exit};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For the whole of it: less than the 30 s after which Docker gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of an answer.
const LONGEST: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Asks here [default: console.bind of the configuration, of which nothing else is looked at]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// Prints what /health answers
    #[arg(long)]
    json: bool,
}

/// Yes if mail is taken, no if not; an error if nobody answers.
pub(super) fn run(arguments: &Arguments, configuration: &Path, out: &mut Printer) -> Result<Exit, CliError> {
    let address = match arguments.address {
        Some(address) => address,
        None => crate::config::console_address(configuration).map_err(|error| CliError::Config(vec![error]))?,
    };
    if address.port() == 0 {
        return Err(CliError::Usage("console.bind has port 0, any free one: name the port with --address".to_owned()));
    }
    let failed = |why: String| CliError::Failed(format!("no gateway answers at {address}: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let answer = runtime.block_on(async { timeout(PATIENCE, ask(reachable(address))).await });
    let (good, body) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("nothing within {} s", PATIENCE.as_secs()))),
    };
    match arguments.json {
        true => out.line(body.trim_end())?,
        false => {
            let value: serde_json::Value = serde_json::from_str(&body).map_err(|error| failed(error.to_string()))?;
            out.line(value.get("status").and_then(serde_json::Value::as_str).unwrap_or("unknown"))?;
        }
    }
    Ok(if good { Exit::Yes } else { Exit::No })
}

/// Who listens everywhere is asked at home.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn ask(address: SocketAddr) -> Result<(bool, String), Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let request = Request::get("/health").header(header::HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let good = response.status().is_success();
    let body = Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes();
    driven.abort();
    Ok((good, String::from_utf8_lossy(&body).into_owned()))
}
