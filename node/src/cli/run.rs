//! `kith run`: the node, from the first start on.

use std::path::Path;

use clap::Args;

use super::output::{self, Failure};
use crate::config::{self, Config};
use crate::daemon;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct RunArgs {
    /// Submission for mail programs.
    #[arg(long, value_name = "ADDR:PORT")]
    smtp: Option<String>,
    /// POP3.
    #[arg(long, value_name = "ADDR:PORT")]
    pop3: Option<String>,
    /// IMAP.
    #[arg(long, value_name = "ADDR:PORT")]
    imap: Option<String>,
    /// Where other nodes reach this one. May be repeated.
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    listen: Option<Vec<String>>,
    /// Nodes to meet the network through. May be repeated.
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    bootstrap: Option<Vec<String>>,
    /// Do not look for nodes on the local network.
    #[arg(long)]
    no_mdns: bool,
    /// What to log: error, warn, info, debug, trace, or a filter.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl RunArgs {
    /// The command line wins over the file.
    fn over(&self, mut config: Config) -> Config {
        let set = |target: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                target.clone_from(value);
            }
        };
        set(&mut config.smtp, &self.smtp);
        set(&mut config.pop3, &self.pop3);
        set(&mut config.imap, &self.imap);
        set(&mut config.log, &self.log);
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
        }
        if let Some(bootstrap) = &self.bootstrap {
            config.bootstrap.clone_from(bootstrap);
        }
        config.mdns &= !self.no_mdns;
        config
    }
}

/// Runs the node until it is told to stop.
pub(super) fn run(home: &Path, args: &RunArgs) -> Result<(), Failure> {
    let failed = |error: config::ConfigError| Failure::new(error.to_string(), "");
    daemon::make_home(home).map_err(|error| {
        Failure::new(format!("{}: {error}", home.display()), "name a folder that you may write with --home DIR")
    })?;
    let path = home.join("kith.toml");
    config::write_if_absent(&path).map_err(failed)?;
    let config = args.over(Config::load(&path).map_err(failed)?);
    config.check().map_err(failed)?;
    crate::logging::start(&config.log);
    daemon::run(home, &config, |welcome| {
        if let Some(text) = welcome.first_words() {
            output::say(&text);
        }
        output::print("ready")
    })
}
