//! Before the play: accounts, contacts and relays, made as people make them, and a letter each way, so that everybody has everybody's card.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cast::Cast;
use super::home::{self, Home, Trouble};
use super::programs::{Sender, Watcher};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a relay is asked to keep.
const QUOTA: u64 = 1 << 30;

/// The nodes, all of them on, and one more that is never off: the simulation's directory is always there, and so is the lab's.
#[derive(Debug)]
pub struct Lab {
    /// The nodes of the cast.
    pub homes: Vec<Home>,
    /// The directory's.
    pub light: Home,
    /// Its addresses.
    pub entry: Vec<String>,
}

/// What a node is called, and its person.
#[must_use]
pub fn name(node: u32) -> String {
    format!("n{node}")
}

fn eventually<T>(home: &Home, what: &str, mut done: impl FnMut() -> Result<Option<T>, Trouble>) -> Result<T, Trouble> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done()? {
            return Ok(found);
        }
        if Instant::now() > until {
            return Err(home.late(what));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes all of it below `folder`.
///
/// # Errors
/// [`Trouble`] with the node.
pub fn make(cast: &Cast, binary: &Path, folder: &Path, (pace, log): (u32, &str)) -> Result<Lab, Trouble> {
    let settings = format!("pace = {pace}\nstrangers = \"welcome\"\nupnp = false\nmdns = false\nlog = {}\n", json!(log));
    let ports = home::ports(cast.nodes() as usize + 1)?;
    let made = |(node, port): (u32, &u16)| Home::make(binary, &folder.join(node.to_string()), &name(node), *port, &settings);
    let mut homes: Vec<Home> = (0..cast.nodes()).zip(&ports).map(made).collect::<Result<_, _>>()?;
    let last = ports.last().copied().unwrap_or_default();
    let mut light = Home::make(binary, &folder.join("light"), "light", last, &settings)?;
    light.start(&[])?;
    let entry = light.addresses();
    for home in &mut homes {
        home.start(&entry)?;
    }
    let mut lab = Lab { homes, light, entry };
    lab.befriend(cast)?;
    lab.host(cast)?;
    // Cards travel in letters; the second round has the relays of both for certain.
    for round in 0..2 {
        lab.write(cast, round)?;
    }
    Ok(lab)
}

impl Lab {
    fn at(&self, node: u32) -> &Home {
        &self.homes[node as usize]
    }

    fn befriend(&mut self, cast: &Cast) -> Result<(), Trouble> {
        let address = |home: &Home| {
            let answer = home.ask("address", json!({ "name": null }))?;
            Ok(answer["address"].as_str().unwrap_or_default().to_owned())
        };
        let addresses: Vec<String> = self.homes.iter().map(address).collect::<Result<_, Trouble>>()?;
        for (one, other) in cast.acquaintances() {
            for (node, of) in [(one, other), (other, one)] {
                let contact = json!({ "account": null, "name": name(of), "address": addresses[of as usize], "emails": [] });
                self.at(node).ask("contact-add", contact)?;
            }
        }
        Ok(())
    }

    /// Everybody asks their relays, which allow it.
    fn host(&mut self, cast: &Cast) -> Result<(), Trouble> {
        let kept: Vec<(u32, u32)> =
            (0..).zip(cast.relays()).flat_map(|(owner, relays)| relays.into_iter().map(move |relay| (owner, relay))).collect();
        let about = |who: u32| json!({ "account": null, "who": name(who), "bytes": QUOTA });
        let list = |home: &Home| home.ask("relay-list", json!({ "account": null }));
        let has = |list: &Value, field: &str, fits: &dyn Fn(&Value) -> bool| {
            list[field].as_array().into_iter().flatten().any(fits).then_some(())
        };
        for (owner, relay) in &kept {
            self.at(*owner).ask("relay-ask", about(*relay))?;
        }
        for (owner, relay) in &kept {
            let home = self.at(*relay);
            let asks = |talk: &Value| talk["name"] == name(*owner);
            eventually(home, "a question to keep mail", || Ok(has(&list(home)?, "talks", &asks)))?;
            home.ask("relay-allow", about(*owner))?;
        }
        for (owner, relay) in &kept {
            let home = self.at(*owner);
            let granted = |used: &Value| used["name"] == name(*relay) && used["granted"].is_u64();
            eventually(home, "a relay's agreement", || Ok(has(&list(home)?, "used", &granted)))?;
        }
        Ok(())
    }

    /// A mail both ways within each pair; waits until all are there, and the receipts.
    fn write(&mut self, cast: &Cast, round: u32) -> Result<(), Trouble> {
        let broken = |home: &Home, error: std::io::Error| home.late(format!("a mail program's session: {error}"));
        let both = |pair: &super::cast::Pair| [(pair.first, pair.first + 1), (pair.first + 1, pair.first)];
        for (from, to) in cast.pairs.iter().flat_map(both) {
            let home = self.at(from);
            let sent = Sender::login(home.server("smtp"), home.name())
                .and_then(|mut sender| sender.send(&name(to), &format!("hello-{round}"), 1000));
            sent.map_err(|error| broken(home, error))?;
        }
        for (_, to) in cast.pairs.iter().flat_map(both) {
            let home = self.at(to);
            let mut watcher = Watcher::login(home.server("imap"), home.name()).map_err(|error| broken(home, error))?;
            let wanted = format!("hello-{round}");
            eventually(home, "a first letter", || {
                let subjects = watcher.subjects().map_err(|error| broken(home, error))?;
                Ok(subjects.contains(&wanted).then_some(()))
            })?;
        }
        for home in &self.homes {
            eventually(home, "receipts", || Ok((home.status()?["queue"] == 0).then_some(())))?;
        }
        Ok(())
    }

    /// Everybody is told to stop, but the directory.
    ///
    /// # Errors
    /// Somebody does not.
    pub fn rest(&mut self) -> Result<(), Trouble> {
        self.homes.iter_mut().try_for_each(|home| home.stop().map(drop))
    }
}
