//! Commands: one line each, parsed into what it asks for (RFC 5321 §4.1, and the extensions that EHLO announces).

mod parameter;
mod path;

use kith_connection::Mechanism;
use kith_store::queue::Notify;
use zeroize::Zeroizing;

use crate::reply::Reply;
use parameter::Parameters;

/// Longest command line, bytes: RFC 5321 §4.5.3.1.4 with what SMTPUTF8, DSN and AUTH add.
pub const COMMAND_BYTES_MAX: usize = 2048;
/// Longest name in EHLO, bytes (RFC 5321 §4.5.3.1.2).
const DOMAIN_BYTES_MAX: usize = 255;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// With the client's name for itself.
    Ehlo(String),
    /// The same, without extensions.
    Helo(String),
    /// RFC 3207.
    StartTls,
    /// RFC 4954; a mechanism that is not known is `None`.
    Auth(Option<Mechanism>, Option<InitialResponse>),
    /// Begins a transaction.
    Mail(MailFrom),
    /// Adds a recipient.
    Rcpt(RcptTo),
    /// The mail comes next.
    Data,
    /// So many bytes come next (RFC 3030); whether they are the last.
    Bdat(u64, bool),
    /// Ends the transaction.
    Rset,
    /// Nothing.
    Noop,
    /// Whether there is such an address.
    Vrfy,
    /// Who is on such a list.
    Expn,
    /// What one can say.
    Help,
    /// The end.
    Quit,
    /// A browser that was told to talk to this port.
    Http,
}

/// What came with AUTH, base64: not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct InitialResponse(pub Zeroizing<Vec<u8>>);

impl core::fmt::Debug for InitialResponse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("InitialResponse(…)")
    }
}

/// `MAIL FROM`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MailFrom {
    /// `local@domain`, or empty for `<>`.
    pub reverse_path: String,
    /// RFC 1870: bytes, as the client reckons.
    pub size: Option<u64>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461 §4.3: `RET=FULL`.
    pub ret_full: bool,
    /// RFC 3461 §4.4, decoded.
    pub envid: Option<String>,
}

/// `RCPT TO`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RcptTo {
    /// `local@domain`, or `postmaster`.
    pub address: String,
    /// The rest.
    pub params: RcptParams,
}

/// What the sender wants to be told about a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// RFC 3461 §4.1.
    pub notify: Option<Notify>,
    /// RFC 3461 §4.2, decoded: `addr-type;address`.
    pub orcpt: Option<String>,
}

impl Command {
    /// Parses a line without its end.
    ///
    /// # Errors
    /// The reply that says what is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, Reply> {
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
            return Err(Reply::new(500, "5.5.2", "A command may not contain a lone carriage return or a NUL"));
        }
        let line = line.trim_ascii_end();
        let split = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (verb, rest) = line.split_at(split);
        let verb = verb.to_ascii_uppercase();
        let rest = rest.trim_ascii_start();
        match (verb.as_slice(), rest) {
            (b"EHLO", name) => domain(name).map(Self::Ehlo),
            (b"HELO", name) => domain(name).map(Self::Helo),
            (b"MAIL", rest) => mail(rest).map(Self::Mail),
            (b"RCPT", rest) => rcpt(rest).map(Self::Rcpt),
            (b"BDAT", rest) => bdat(rest),
            (b"AUTH", rest) => auth(rest),
            (b"STARTTLS", b"") => Ok(Self::StartTls),
            (b"DATA", b"") => Ok(Self::Data),
            (b"RSET", b"") => Ok(Self::Rset),
            (b"QUIT", b"") => Ok(Self::Quit),
            (b"NOOP", _) => Ok(Self::Noop),
            (b"HELP", _) => Ok(Self::Help),
            (b"VRFY", _) => Ok(Self::Vrfy),
            (b"EXPN", _) => Ok(Self::Expn),
            (b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT", _) => Ok(Self::Http),
            (b"STARTTLS" | b"DATA" | b"RSET" | b"QUIT", _) => Err(syntax("This command takes no argument")),
            _ => Err(Reply::new(500, "5.5.1", "Unknown command; HELP lists the commands")),
        }
    }
}

fn syntax(text: &'static str) -> Reply {
    Reply::new(501, "5.5.4", text)
}

/// Whatever name a client gives itself is only looked at for its form, and loosely: programs send what their machine happens to be called.
fn domain(name: &[u8]) -> Result<String, Reply> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.len() <= DOMAIN_BYTES_MAX);
    let name = name.filter(|name| !name.contains(|letter: char| letter.is_whitespace() || letter.is_control()));
    name.map(str::to_owned).ok_or_else(|| syntax("Say the name of your machine, as in: EHLO my.host"))
}

/// What follows `FROM:` or `TO:`. A space after the colon is wrong and common.
fn after_keyword<'a>(rest: &'a [u8], keyword: &str) -> Option<&'a [u8]> {
    let (start, rest) = rest.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword.as_bytes()).then(|| rest.trim_ascii_start())
}

fn mail(rest: &[u8]) -> Result<MailFrom, Reply> {
    let usage = || syntax("The form is: MAIL FROM:<you@kith.alt>");
    let (path, parameters) = path::parse(after_keyword(rest, "FROM:").ok_or_else(usage)?).ok_or_else(usage)?;
    let mut mail = MailFrom { reverse_path: path, ..MailFrom::default() };
    let mut parameters = Parameters::parse(parameters)?;
    mail.size = parameters.take("SIZE").map(parameter::size).transpose()?;
    parameters.take("BODY").map(parameter::body).transpose()?;
    mail.smtputf8 = parameters.take("SMTPUTF8").map(parameter::no_value).transpose()?.is_some();
    mail.ret_full = parameters.take("RET").map(parameter::ret).transpose()?.unwrap_or(false);
    mail.envid = parameters.take("ENVID").map(parameter::envid).transpose()?;
    // RFC 4954 §5: who submitted it elsewhere; nobody but the account itself does here.
    parameters.take("AUTH").map(parameter::auth).transpose()?;
    parameters.finish()?;
    if !mail.smtputf8 && !mail.reverse_path.is_ascii() {
        return Err(path::needs_smtputf8());
    }
    Ok(mail)
}

fn rcpt(rest: &[u8]) -> Result<RcptTo, Reply> {
    let usage = || syntax("The form is: RCPT TO:<somebody@kith.alt>");
    let (address, parameters) = path::parse(after_keyword(rest, "TO:").ok_or_else(usage)?).ok_or_else(usage)?;
    if address.is_empty() {
        return Err(Reply::new(501, "5.1.3", "A recipient cannot be empty"));
    }
    let mut parameters = Parameters::parse(parameters)?;
    let notify = parameters.take("NOTIFY").map(parameter::notify).transpose()?;
    let orcpt = parameters.take("ORCPT").map(parameter::orcpt).transpose()?;
    parameters.finish()?;
    Ok(RcptTo { address, params: RcptParams { notify, orcpt } })
}

fn bdat(rest: &[u8]) -> Result<Command, Reply> {
    let usage = || syntax("The form is: BDAT <bytes> [LAST]");
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let size = words.next().and_then(parameter::number).ok_or_else(usage)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(usage()),
    };
    if words.next().is_some() { Err(usage()) } else { Ok(Command::Bdat(size, last)) }
}

fn auth(rest: &[u8]) -> Result<Command, Reply> {
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let Some(mechanism) = words.next() else { return Err(syntax("The form is: AUTH PLAIN, or AUTH LOGIN")) };
    let initial = words.next().map(|word| InitialResponse(Zeroizing::new(word.to_vec())));
    if words.next().is_some() {
        return Err(syntax("The initial response must be one word of base64"));
    }
    Ok(Command::Auth(Mechanism::parse(mechanism), initial))
}

#[cfg(test)]
mod tests;
