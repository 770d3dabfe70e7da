//! The `kith` command line: what can be typed, and which file answers it.
//!
//! Data goes to standard output, talk to standard error; every reading command takes `--json`. Exit codes: 0 done, 1 refused or failed, 2 usage.
//! Secrets never come as arguments: a prompt, or `--password-stdin`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod account;
mod address;
mod archive;
mod contact;
mod gateway;
mod key;
mod output;
mod queue;
mod relay;
mod run;
mod sendmail;
mod settings;
mod status;
mod store;
mod table;

pub use output::Failure;
pub(crate) use store::report as verify_report;

/// Mail between people who know each other, with nobody in between who can read it.
#[derive(Debug, Parser)]
#[command(name = "kith", version, about, disable_help_subcommand = true)]
struct Cli {
    /// The folder that holds everything: settings, mail, keys. [default: the data folder of your login, kith]
    #[arg(long, global = true, env = "KITH_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// Without a command: run.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node (the default).
    Run(run::RunArgs),
    /// The people of this household.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Print an address, draw it, or print the link that a contact can import.
    Address(address::AddressArgs),
    /// The people you write to by name.
    #[command(subcommand)]
    Contact(contact::ContactCommand),
    /// The 24 words that bring an address back.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Whose mail this node keeps while they are away, and who keeps yours.
    #[command(subcommand)]
    Relay(relay::RelayCommand),
    /// Ordinary e-mail: whose an address is, and what may leave in the clear.
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// What has not arrived yet.
    Queue(queue::QueueArgs),
    /// Is everything all right?
    Status(JsonArg),
    /// What to type into a mail program, and the files that some read by themselves.
    Settings(settings::SettingsArgs),
    /// Send a mail from standard input, as sendmail -t -i does.
    Sendmail(sendmail::SendmailArgs),
    /// Bring mail along: from a Maildir, an mbox, or folders full of them, with flags and dates.
    Import(archive::ImportArgs),
    /// Write mail out as a Maildir or as mboxes.
    Export(archive::ExportArgs),
    /// Check the store: every view, every mail.
    Verify(JsonArg),
    /// Rebuild what can be rebuilt of a damaged store. The node must not run.
    Repair(JsonArg),
}

/// `--json` alone.
#[derive(Clone, Copy, Debug, Args)]
struct JsonArg {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Parses the command line and does what it says; prints a failure with its remedy.
///
/// Gives the process's exit code.
pub fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // Nothing is left to say it to when this fails.
            let _ = error.print();
            return std::process::ExitCode::from(code);
        }
    };
    match perform(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn perform(cli: Cli) -> Result<(), Failure> {
    let home = match cli.home {
        Some(home) => home,
        None => default_home()?,
    };
    match cli.command {
        None => run::run(&home, &cli.run),
        Some(Command::Run(args)) => run::run(&home, &args),
        Some(Command::Account(command)) => account::perform(&home, command),
        Some(Command::Address(args)) => address::perform(&home, &args),
        Some(Command::Contact(command)) => contact::perform(&home, command),
        Some(Command::Key(command)) => key::perform(&home, command),
        Some(Command::Relay(command)) => relay::perform(&home, command),
        Some(Command::Gateway(command)) => gateway::perform(&home, command),
        Some(Command::Queue(args)) => queue::perform(&home, args),
        Some(Command::Status(args)) => status::perform(&home, args.json),
        Some(Command::Settings(args)) => settings::perform(&home, &args),
        Some(Command::Sendmail(args)) => sendmail::perform(&home, args),
        Some(Command::Import(args)) => archive::import(&home, args),
        Some(Command::Export(args)) => archive::export(&home, &args),
        Some(Command::Verify(args)) => store::verify(&home, args.json),
        Some(Command::Repair(args)) => store::repair(&home, args.json),
    }
}

/// `$XDG_DATA_HOME/kith`, else `~/.local/share/kith`.
fn default_home() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("kith"))
        .ok_or_else(|| Failure::new("there is no home folder here (HOME is not set)", "say where to keep things with --home DIR"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
