//! Where a password or token comes from: a file, or a command that prints it, such as a keyring's or an OAuth helper. Asked for each time, kept nowhere.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zeroize::Zeroizing;

/// The longest secret; OAuth tokens have two or three thousand bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// How long a command may think.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// Words of a command.
const WORDS_MAX: usize = 64;

/// Where to get it.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The first line of a file.
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

/// Why there is no secret. Never a word of what was printed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the file with the password cannot be read: {0}")]
    File(std::io::ErrorKind),
    /// The program cannot be started.
    #[error("the command for the password cannot be started: {0}")]
    Start(std::io::ErrorKind),
    /// It took longer than 30 s.
    #[error("the command for the password took longer than {} s", COMMAND_TIME.as_secs())]
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
    pub async fn read(&self) -> Result<Zeroizing<String>, SecretError> {
        self.read_within(COMMAND_TIME).await
    }

    async fn read_within(&self, time: Duration) -> Result<Zeroizing<String>, SecretError> {
        match self {
            SecretSource::File(path) => {
                let mut file = tokio::fs::File::open(path).await.map_err(|error| SecretError::File(error.kind()))?;
                first_line(&bounded(&mut file).await.map_err(SecretError::File)?)
            }
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

async fn run(mut command: Command, time: Duration) -> Result<Zeroizing<String>, SecretError> {
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

fn first_line(bytes: &[u8]) -> Result<Zeroizing<String>, SecretError> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(SecretError::NoSecret);
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| SecretError::NoSecret)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(SecretError::NoSecret);
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(line: &str) -> Result<String, SecretError> {
        SecretSource::Shell(line.to_owned()).read().await.map(|secret| secret.to_string())
    }

    #[tokio::test]
    async fn a_secret_is_the_first_line_and_nothing_else() {
        assert_eq!(shell("printf 'geheim ä\\r\\nmore'").await.as_deref(), Ok("geheim ä"));
        assert_eq!(shell("exit 3").await, Err(SecretError::Failed));
        assert_eq!(shell("echo; echo x").await, Err(SecretError::NoSecret));
        assert_eq!(shell("printf 'a\\001b'").await, Err(SecretError::NoSecret));
        assert_eq!(shell("yes x | tr -d '\\n'").await, Err(SecretError::NoSecret), "without end");
        let words = |words: &[&str]| SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words(&["echo", "$HOME; ls"]).read().await.unwrap().as_str(), "$HOME; ls", "no shell");
        assert_eq!(words(&["/nowhere/at/all"]).read().await, Err(SecretError::Start(std::io::ErrorKind::NotFound)));
        assert!(words(&[]).read().await.is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass\n").unwrap();
        assert_eq!(SecretSource::File(file.path().to_owned()).read().await.unwrap().as_str(), "pass");
        assert_eq!(
            SecretSource::File("/nowhere/at/all".into()).read().await,
            Err(SecretError::File(std::io::ErrorKind::NotFound))
        );
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let source = SecretSource::Shell("sleep 1000 & sleep 1000".to_owned());
        assert_eq!(source.read_within(Duration::from_millis(200)).await, Err(SecretError::Hung));
    }
}
