//! Passwords and tokens, from a file or a command; wiped when dropped, and shown to nobody.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::FetchError;

/// Longest secret, bytes; tokens are long.
const SECRET_BYTES_MAX: usize = 16 * 1024;
/// How long a command may take: it may have to ask a server for a new token.
const COMMAND: Duration = Duration::from_secs(60);

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a command prints: the program and its arguments.
    Command(Vec<String>),
}

/// A password or token.
pub struct Secret(Zeroizing<Vec<u8>>);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Takes it from memory, without its line end.
    ///
    /// # Errors
    /// It is empty, too long, or has what no password can have: NUL, CR, LF.
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, FetchError> {
        if let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            bytes.truncate(end);
        }
        if bytes.is_empty() || bytes.len() > SECRET_BYTES_MAX || bytes.contains(&0) {
            return Err(FetchError::Secret("it is empty, or no password".to_owned()));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl SecretSource {
    /// Reads it; asked anew for each login, since tokens expire.
    ///
    /// # Errors
    /// [`FetchError::Secret`], without a byte of it.
    pub async fn read(&self) -> Result<Secret, FetchError> {
        match self {
            Self::File(path) => {
                let file = tokio::fs::File::open(path).await;
                let mut file = file.map_err(|error| FetchError::Secret(format!("{}: {error}", path.display())))?;
                Secret::new(first(&mut file).await?)
            }
            Self::Command(command) => run(command).await,
        }
    }
}

async fn first(source: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Zeroizing<Vec<u8>>, FetchError> {
    // Never grows, so that no copy stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let mut source = source.take(SECRET_BYTES_MAX as u64 + 1);
    while source.read_buf(&mut *bytes).await.map_err(|error| FetchError::Secret(error.to_string()))? > 0 {}
    Ok(bytes)
}

async fn run(command: &[String]) -> Result<Secret, FetchError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(FetchError::Secret("the command is empty".to_owned()));
    };
    let failed = |why: String| FetchError::Secret(format!("{program}: {why}"));
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let Some(mut output) = child.stdout.take() else { return Err(failed("it has no output".to_owned())) };
    let work = async {
        let bytes = first(&mut output).await?;
        drop(output);
        let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
        if status.success() { Secret::new(bytes) } else { Err(failed(status.to_string())) }
    };
    timeout(COMMAND, work).await.unwrap_or_else(|_| Err(failed("it takes too long".to_owned())))
}

/// RFC 4616.
pub(crate) fn plain(user: &str, secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(user.len() + secret.0.len() + 2));
    text.push(0);
    text.extend_from_slice(user.as_bytes());
    text.push(0);
    text.extend_from_slice(&secret.0);
    text
}

/// What XOAUTH2 says first.
pub(crate) fn xoauth2(user: &str, token: &Secret) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(user.len() + token.0.len() + 32));
    text.extend_from_slice(b"user=");
    text.extend_from_slice(user.as_bytes());
    text.extend_from_slice(b"\x01auth=Bearer ");
    text.extend_from_slice(&token.0);
    text.extend_from_slice(b"\x01\x01");
    text
}
