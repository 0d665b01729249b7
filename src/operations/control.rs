//! The control socket: one JSON line asks, one JSON line answers, then the connection ends.
//!
//! Whoever can open the socket (mode 0600: the gateway's own user, and root) may do everything that `Command` names.
//! A client that is slow, silent or sends too much is hung up on; it never stops the gateway.

use super::{Command, ErrorKind, OperationError, Output, execute};
use crate::pipeline::Gateway;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Octets of one line: a CRL of 64 MiB in base64. (Key files of 1 MiB come as JSON numbers of up to four octets each.)
const LINE: u64 = 96 << 20;
/// How long a client may take to ask.
const ASKING: Duration = Duration::from_secs(10);
/// How long a command may take: a reload reads every CRL again.
const ANSWERING: Duration = Duration::from_secs(120);

/// One line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Done(Box<Output>),
    Error(OperationError),
}

/// Makes the socket. A socket that a dead server left behind is removed: the caller holds the data directory's lock.
///
/// # Errors
/// The socket can't be made.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join("control.sock");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // The data directory is 0700, so nobody else gets in before this.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the shutdown; then the socket's file goes away.
pub async fn serve(gateway: Arc<Gateway>, listener: UnixListener, mut shutdown: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "the control socket can not accept.");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            },
            _ = shutdown.changed() => break,
        };
        tokio::spawn(answer(Arc::clone(&gateway), stream));
    }
    let path = gateway.snapshot().config.control_socket();
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, "the control socket stays behind.");
    }
}

async fn answer(gateway: Arc<Gateway>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let answer = match tokio::time::timeout(ASKING, read_line(reader)).await {
        Ok(Ok(line)) => match serde_json::from_slice::<Command>(&line) {
            Ok(command) => match execute(&gateway, command).await {
                Ok(output) => Answer::Done(Box::new(output)),
                Err(error) => Answer::Error(error),
            },
            // serde_json quotes no more of the line than a few characters' position.
            Err(error) => Answer::Error(OperationError::new(
                ErrorKind::Input,
                format!("not a command: {:?} at column {}", error.classify(), error.column()),
            )),
        },
        Ok(Err(error)) => Answer::Error(OperationError::new(ErrorKind::Input, error.to_string())),
        Err(_) => return,
    };
    let written = match serde_json::to_vec(&answer) {
        Ok(mut line) => {
            line.push(b'\n');
            writer.write_all(&line).await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a client of the control socket left before its answer.");
    }
}

async fn read_line(stream: impl tokio::io::AsyncRead + Unpin) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::new());
    let read = BufReader::new(stream.take(LINE)).read_until(b'\n', &mut line).await?;
    if read == 0 || line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected one line"));
    }
    Ok(line)
}

/// Sends a command to a running server. `None`: no server answers at this socket.
///
/// # Errors
/// The server's own, or it hung up.
pub async fn send(socket: &Path, command: &Command) -> Result<Option<Output>, OperationError> {
    let failed = |error: io::Error| {
        OperationError::new(ErrorKind::Server, format!("the server does not answer at `{}`: {error}", socket.display()))
    };
    let mut stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(failed(error).hint("run this as the gateway's user or as root"));
        }
        Err(error) => return Err(failed(error)),
    };
    let mut line = Zeroizing::new(serde_json::to_vec(command).map_err(|error| failed(error.into()))?);
    line.push(b'\n');
    stream.write_all(&line).await.map_err(failed)?;
    let line = match tokio::time::timeout(ANSWERING, read_line(stream)).await {
        Ok(line) => line.map_err(failed)?,
        Err(_) => {
            return Err(OperationError::new(ErrorKind::Server, "the server took too long to answer; look at its log"));
        }
    };
    match serde_json::from_slice(&line).map_err(|error| failed(error.into()))? {
        Answer::Done(output) => Ok(Some(*output)),
        Answer::Error(error) => Err(error),
    }
}
