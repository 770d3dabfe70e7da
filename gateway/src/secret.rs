//! Passwords and tokens for somebody else's server: where they come from (a file, or a command that prints them, such as a keyring's or an OAuth helper), and the texts
//! that say them. Asked for at each login, since tokens expire; kept nowhere, and erased when dropped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zeroize::Zeroizing;

/// The longest secret, in bytes; OAuth tokens have two or three thousand bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// How long a file or a command may take.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Words of a command.
const WORDS_MAX: usize = 64;

/// Where to get it.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The first line of a regular file.
    File(PathBuf),
    /// The first line that a program prints: its path and arguments, with no shell between.
    Command(Vec<String>),
    /// The first line that a line of `sh` prints.
    Shell(String),
}

impl std::fmt::Debug for SecretSource {
    /// The kind alone: people write passwords into commands.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SecretSource::File(_) => "a file",
            SecretSource::Command(_) => "a command",
            SecretSource::Shell(_) => "a line of sh",
        })
    }
}

/// A password or token: one line of text, not empty, at most [`SECRET_BYTES_MAX`] bytes, without control characters.
pub(crate) struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// What it says; not to be copied to where nothing erases it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Why there is no secret. Never a word of what was printed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read, or is none: a pipe or a device.
    #[error("the file with the password cannot be read: {0}")]
    File(std::io::ErrorKind),
    /// The program cannot be started.
    #[error("the command for the password cannot be started: {0}")]
    Start(std::io::ErrorKind),
    /// It took longer than 30 s, be it a command or a file on a disk that hangs.
    #[error("the password did not come within {} s", TIME_MAX.as_secs())]
    Hung,
    /// It ended with a failure.
    #[error("the command for the password failed")]
    Failed,
    /// More than [`SECRET_BYTES_MAX`] bytes, no text, or with control characters in it.
    #[error("what came as password is none")]
    NoSecret,
}

impl SecretSource {
    /// Gets the secret. Memory that held it is erased.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) async fn read(&self) -> Result<Secret, SecretError> {
        self.read_within(TIME_MAX).await
    }

    async fn read_within(&self, time: Duration) -> Result<Secret, SecretError> {
        match self {
            SecretSource::File(path) => tokio::time::timeout(time, from_file(path)).await.unwrap_or(Err(SecretError::Hung)),
            SecretSource::Command(words) => {
                let (program, arguments) = words
                    .split_first()
                    .filter(|_| words.len() <= WORDS_MAX)
                    .ok_or(SecretError::Start(std::io::ErrorKind::InvalidInput))?;
                let mut command = Command::new(program);
                command.args(arguments);
                run(command, time).await
            }
            SecretSource::Shell(line) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(line);
                run(command, time).await
            }
        }
    }
}

async fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error: std::io::Error| SecretError::File(error.kind());
    // Opening a pipe waits for who writes into it, and nothing can stop that.
    if !tokio::fs::metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(SecretError::File(std::io::ErrorKind::InvalidInput));
    }
    let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    first_line(&bounded(&mut file).await.map_err(SecretError::File)?)
}

async fn run(mut command: Command, time: Duration) -> Result<Secret, SecretError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(|error| SecretError::Start(error.kind()))?;
    let group = child.id();
    let asking = async {
        let printed = match child.stdout.take() {
            Some(mut out) => bounded(&mut out).await.map_err(SecretError::Start)?,
            None => return Err(SecretError::Failed),
        };
        if printed.len() > SECRET_BYTES_MAX {
            return Err(SecretError::NoSecret);
        }
        let status = child.wait().await.map_err(|error| SecretError::Start(error.kind()))?;
        if status.success() { first_line(&printed) } else { Err(SecretError::Failed) }
    };
    let answer = tokio::time::timeout(time, asking).await.unwrap_or(Err(SecretError::Hung));
    // What it started and left behind goes with it.
    if answer.is_err()
        && let Some(pid) = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    answer
}

async fn bounded(from: &mut (impl AsyncRead + Unpin)) -> Result<Zeroizing<Vec<u8>>, std::io::ErrorKind> {
    // As large as it can get at once, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let most = u64::try_from(SECRET_BYTES_MAX + 1).unwrap_or(u64::MAX);
    from.take(most).read_to_end(&mut bytes).await.map_err(|error| error.kind())?;
    Ok(bytes)
}

fn first_line(bytes: &[u8]) -> Result<Secret, SecretError> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(SecretError::NoSecret);
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| SecretError::NoSecret)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(SecretError::NoSecret);
    }
    Ok(Secret(Zeroizing::new(text.to_owned())))
}

/// What SASL PLAIN says (RFC 4616).
pub(crate) fn plain(user: &str, password: &Secret) -> Zeroizing<String> {
    joined(&["\0", user, "\0", password.text()])
}

/// What SASL XOAUTH2 says first.
pub(crate) fn xoauth2(user: &str, token: &Secret) -> Zeroizing<String> {
    joined(&["user=", user, "\x01auth=Bearer ", token.text(), "\x01\x01"])
}

/// In Base64.
pub(crate) fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(text))
}

/// Joined without a copy being left behind by growing.
pub(crate) fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut whole = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.push_str(part));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(line: &str) -> Result<String, SecretError> {
        SecretSource::Shell(line.to_owned()).read().await.map(|secret| secret.text().to_owned())
    }

    #[tokio::test]
    async fn a_secret_is_the_first_line_and_nothing_else() {
        assert_eq!(shell("printf 'geheim ä\\r\\nmore'").await.as_deref(), Ok("geheim ä"));
        assert_eq!(shell("exit 3").await, Err(SecretError::Failed));
        assert_eq!(shell("echo; echo x").await, Err(SecretError::NoSecret));
        assert_eq!(shell("printf 'a\\001b'").await, Err(SecretError::NoSecret));
        assert_eq!(shell("yes x | tr -d '\\n'").await, Err(SecretError::NoSecret), "without end");
        let words = |words: &[&str]| SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words(&["echo", "$HOME; ls"]).read().await.unwrap().text(), "$HOME; ls", "no shell");
        assert_eq!(words(&["/nowhere/at/all"]).read().await.unwrap_err(), SecretError::Start(std::io::ErrorKind::NotFound));
        assert!(words(&[]).read().await.is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass\n").unwrap();
        assert_eq!(SecretSource::File(file.path().to_owned()).read().await.unwrap().text(), "pass");
        assert_eq!(
            SecretSource::File("/nowhere/at/all".into()).read().await.unwrap_err(),
            SecretError::File(std::io::ErrorKind::NotFound)
        );
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_writes_into_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(SecretSource::File(pipe).read().await.unwrap_err(), SecretError::File(std::io::ErrorKind::InvalidInput));
    }

    #[test]
    fn a_secret_shows_itself_to_nobody_and_is_said_as_the_mechanisms_want_it() {
        let secret = first_line(b"geheim\n").unwrap();
        assert!(!format!("{secret:?}").contains("geheim"));
        assert!(!format!("{:?}", SecretSource::Shell("echo geheim".to_owned())).contains("geheim"));
        assert_eq!(encoded(&plain("anna", &secret)).as_str(), "AGFubmEAZ2VoZWlt");
        assert_eq!(xoauth2("anna", &secret).as_str(), "user=anna\x01auth=Bearer geheim\x01\x01");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let source = SecretSource::Shell("sleep 1000 & sleep 1000".to_owned());
        assert_eq!(source.read_within(Duration::from_millis(200)).await.unwrap_err(), SecretError::Hung);
    }
}
