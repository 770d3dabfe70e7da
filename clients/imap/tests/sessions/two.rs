//! Two sessions on one folder, and for each a client that believes what it is told and nothing else: whatever the two do, in the end both know
//! what there is (RFC 3501 §5.5 and §7.4.1, RFC 7162 §3.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use kith_store::disk::SimulatedDisk;
use kith_store::folder::{Flags, Message, Uid};
use proptest::prelude::*;

use crate::client::Client;
use crate::home::Home;

/// What a client knows of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
    mod_seq: Option<u64>,
}

/// A client's picture of the selected folder.
#[derive(Clone, Debug, Default)]
struct Picture {
    messages: Vec<Known>,
    highest: u64,
    uid_validity: u32,
}

fn inside<'a>(text: &'a str, before: &str, after: char) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let rest = &text[start..];
    Some(&rest[..rest.find(after)?])
}

fn set(text: &str) -> BTreeSet<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    text.split(',')
        .flat_map(|range| match range.split_once(':') {
            Some((from, to)) => number(from)..=number(to),
            None => number(range)..=number(range),
        })
        .collect()
}

impl Picture {
    /// Believes a line; `deferred` where the command does not let numbers change.
    fn believe(&mut self, line: &str, deferred: bool) {
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["*", number, "EXISTS"] => {
                let exists: usize = number.parse().unwrap();
                assert!(exists >= self.messages.len(), "EXISTS may not shrink: {line}");
                self.messages.resize(exists, Known::default());
            }
            ["*", number, "EXPUNGE"] => {
                assert!(!deferred, "EXPUNGE in the middle of a command with numbers");
                let number: usize = number.parse().unwrap();
                self.messages.remove(number - 1);
            }
            ["*", "VANISHED", "(EARLIER)", uids] => {
                let uids = set(uids);
                self.messages.retain(|known| known.uid.is_none_or(|uid| !uids.contains(&uid)));
            }
            ["*", "VANISHED", uids] => {
                assert!(!deferred, "VANISHED in the middle of a command with numbers");
                for uid in set(uids) {
                    let at = self.messages.iter().position(|known| known.uid == Some(uid));
                    self.messages.remove(at.unwrap_or_else(|| panic!("{line}: it did not know {uid}: {self:?}")));
                }
            }
            ["*", number, "FETCH", ..] => {
                let number: usize = number.parse().unwrap();
                let known = self.messages.get_mut(number - 1).unwrap_or_else(|| panic!("there is no such message: {line}"));
                if let Some((_, rest)) = line.split_once("UID ") {
                    let uid = rest[..rest.find([' ', ')']).unwrap()].parse().unwrap();
                    assert!(known.uid.is_none_or(|known| known == uid), "{line}: another message was there");
                    known.uid = Some(uid);
                }
                if let Some(flags) = inside(line, "FLAGS (", ')') {
                    known.flags = Some(flags.split_whitespace().filter(|flag| *flag != "\\Recent").map(str::to_owned).collect());
                }
                if let Some(mod_seq) = inside(line, "MODSEQ (", ')') {
                    known.mod_seq = Some(mod_seq.parse().unwrap());
                }
            }
            _ => {
                if let Some(highest) = inside(line, "[HIGHESTMODSEQ ", ']') {
                    self.highest = highest.parse().unwrap();
                }
                if let Some(validity) = inside(line, "[UIDVALIDITY ", ']') {
                    self.uid_validity = validity.parse().unwrap();
                }
            }
        }
    }
}

/// A client and its picture.
struct Program<'a> {
    client: Client<'a>,
    picture: Picture,
    folder: String,
    qresync: bool,
}

impl<'a> Program<'a> {
    fn new(home: &'a Home, folder: &str, qresync: bool) -> Self {
        let mut client = Client::new(home);
        client.ok(if qresync { "ENABLE QRESYNC" } else { "ENABLE CONDSTORE" });
        let mut program = Self { client, picture: Picture::default(), folder: folder.to_owned(), qresync };
        program.select();
        program
    }

    fn say(&mut self, text: &str) -> String {
        let deferred = ["FETCH", "STORE", "SEARCH"].iter().any(|name| text.starts_with(name));
        self.assume(text);
        let (lines, last) = self.client.command(text);
        for line in &lines {
            self.picture.believe(line, deferred);
        }
        self.picture.believe(&last, true);
        assert!(!last.starts_with("BAD"), "{text}: {last}");
        self.look();
        last
    }

    /// What a program does to its own picture when it asks for no answer.
    fn assume(&mut self, text: &str) {
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        let (by_uid, numbers, change) = match *words {
            ["STORE", numbers, change, ..] => (false, numbers, change),
            ["UID", "STORE", numbers, change, ..] => (true, numbers, change),
            _ => return,
        };
        let flags = inside(text, "(", ')').unwrap_or_default().split_whitespace().map(str::to_owned);
        if !change.ends_with(".SILENT") {
            return;
        }
        let (numbers, flags) = (set(numbers), flags.collect::<BTreeSet<String>>());
        for (index, known) in self.picture.messages.iter_mut().enumerate() {
            let number = if by_uid { known.uid } else { u32::try_from(index + 1).ok() };
            let Some(known) = known.flags.as_mut().filter(|_| number.is_some_and(|number| numbers.contains(&number))) else {
                continue;
            };
            match change.as_bytes()[0] {
                b'+' => known.extend(flags.iter().cloned()),
                b'-' => known.retain(|flag| !flags.contains(flag)),
                _ => known.clone_from(&flags),
            }
        }
    }

    /// Asks for what it does not know yet, as every program does.
    fn look(&mut self) {
        for _ in 0..4 {
            let Some(first) = self.picture.messages.iter().position(|known| known.uid.is_none() || known.flags.is_none()) else {
                return;
            };
            let (lines, last) = self.client.command(&format!("FETCH {}:* (UID FLAGS)", first + 1));
            lines.iter().for_each(|line| self.picture.believe(line, true));
            assert!(last.starts_with("OK") || last.contains("EXPUNGEISSUED"), "{last}");
            if last.contains("EXPUNGEISSUED") {
                // Some are gone already: their numbers will be told.
                self.client.ok("NOOP").iter().for_each(|line| self.picture.believe(line, false));
            }
        }
    }

    fn select(&mut self) {
        self.picture = Picture::default();
        let text = format!("SELECT {}", self.folder);
        self.say(&text);
    }

    /// Closes the folder and comes back with what it remembers; asks for nothing that it is not told.
    fn come_back(&mut self) {
        if !self.qresync {
            self.say("UNSELECT");
            return self.select();
        }
        // What it has not been told of cannot be remembered.
        self.say("NOOP");
        self.client.ok("UNSELECT");
        let Picture { messages, highest, uid_validity } = std::mem::take(&mut self.picture);
        let uids: Vec<String> = messages.iter().filter_map(|known| known.uid).map(|uid| uid.to_string()).collect();
        let known = if uids.is_empty() { String::new() } else { format!(" {}", uids.join(",")) };
        let lines = self.client.ok(&format!("SELECT {} (QRESYNC ({uid_validity} {}{known}))", self.folder, highest.max(1)));
        let mut remembered = Picture { messages, highest, uid_validity };
        for line in lines.iter().filter(|line| line.starts_with("* VANISHED")) {
            remembered.believe(line, false);
        }
        for line in lines.iter().filter(|line| !line.starts_with("* VANISHED")) {
            remembered.believe(line, true);
        }
        self.picture = remembered;
        self.look();
    }

    fn agrees(&mut self, truth: &[Message]) {
        self.say("NOOP");
        let uids: Vec<_> = self.picture.messages.iter().map(|known| known.uid.unwrap()).collect();
        assert_eq!(uids, truth.iter().map(|message| message.uid.0).collect::<Vec<_>>());
        for (known, message) in self.picture.messages.iter().zip(truth) {
            assert_eq!(known.flags.as_ref().unwrap(), &names(message), "flags of {}", message.uid.0);
            assert!(known.mod_seq.is_none_or(|mod_seq| mod_seq <= message.mod_seq.0));
        }
        // Numbers are UIDs' places, whoever counts.
        let lines = self.client.ok("FETCH 1:* (UID MODSEQ)");
        for (line, message) in lines.iter().zip(truth) {
            assert!(line.contains(&format!("UID {} MODSEQ ({})", message.uid.0, message.mod_seq.0)), "{line}");
        }
    }
}

fn names(message: &Message) -> BTreeSet<String> {
    let system = [
        ("\\Seen", Flags::SEEN),
        ("\\Answered", Flags::ANSWERED),
        ("\\Flagged", Flags::FLAGGED),
        ("\\Deleted", Flags::DELETED),
        ("\\Draft", Flags::DRAFT),
    ];
    let set = system.iter().filter(|(_, bit)| message.flags.system & bit != 0).map(|(name, _)| (*name).to_owned());
    set.chain(message.flags.keywords.iter().map(ToString::to_string)).collect()
}

fn talk() -> impl Strategy<Value = Vec<(bool, String)>> {
    let numbers = || (1_u32..7, 0_u32..3).prop_map(|(from, more)| format!("{from}:{}", from + more));
    let flags = || prop_oneof![Just("\\Seen"), Just("\\Deleted"), Just("\\Flagged $x"), Just("$y"), Just("")];
    let sign = || prop_oneof![Just("+"), Just("-"), Just("")];
    let uid = || prop_oneof![Just(""), Just("UID ")];
    let command = prop_oneof![
        6 => Just("APPEND".to_owned()),
        4 => (uid(), numbers(), sign(), prop_oneof![Just(""), Just(".SILENT")], flags())
            .prop_map(|(uid, numbers, sign, silent, flags)| format!("{uid}STORE {numbers} {sign}FLAGS{silent} ({flags})")),
        2 => (numbers(), 1_u64..200, flags()).prop_map(|(n, m, f)| format!("UID STORE {n} (UNCHANGEDSINCE {m}) +FLAGS ({f})")),
        2 => (uid(), numbers()).prop_map(|(uid, numbers)| format!("{uid}FETCH {numbers} (UID FLAGS)")),
        1 => (uid(), numbers()).prop_map(|(uid, numbers)| format!("{uid}FETCH {numbers} (UID BODY[1]<9.1>)")),
        2 => Just("EXPUNGE".to_owned()),
        2 => numbers().prop_map(|numbers| format!("UID EXPUNGE {numbers}")),
        2 => (uid(), numbers(), prop_oneof![Just("Trash"), Just("@")]).prop_map(|(uid, n, to)| format!("{uid}MOVE {n} {to}")),
        1 => (uid(), numbers()).prop_map(|(uid, numbers)| format!("{uid}COPY {numbers} @")),
        1 => uid().prop_map(|uid| format!("{uid}SEARCH UNSEEN")),
        2 => Just("NOOP".to_owned()),
        1 => Just("IDLE".to_owned()),
        1 => Just("BACK".to_owned()),
        1 => Just("CLOSE".to_owned()),
    ];
    proptest::collection::vec((any::<bool>(), command), 1..30)
}

fn speak(program: &mut Program<'_>, command: &str) {
    match command {
        "APPEND" => {
            program.client.append(&program.folder.clone(), b"Subject: x\r\n\r\n");
            let said = program.client.take();
            said.split_terminator("\r\n").for_each(|line| program.picture.believe(line, false));
            program.look();
        }
        "BACK" => program.come_back(),
        "CLOSE" => {
            program.say("CLOSE");
            program.select();
        }
        "IDLE" => {
            program.client.send(b"i IDLE\r\n");
            program.client.run();
            program.client.send(b"DONE\r\n");
            let said = program.client.take();
            for line in said.split_terminator("\r\n").filter(|line| line.starts_with('*')) {
                program.picture.believe(line, false);
            }
            program.look();
        }
        command => {
            let count = program.picture.messages.len();
            let by_number = ["STORE", "FETCH", "MOVE", "COPY"].iter().any(|name| command.starts_with(name));
            let last: usize = command.split([' ', ':']).nth(2).and_then(|number| number.parse().ok()).unwrap_or(0);
            // A program names no number that it was not told of.
            if !by_number || last <= count {
                program.say(&command.replace('@', &program.folder));
            }
        }
    }
}

#[test]
fn two_programs_on_one_folder_know_what_there_is() {
    let home = Home::simulated(&SimulatedDisk::default());
    let case = AtomicU32::new(0);
    proptest!(ProptestConfig { cases: 300, max_shrink_iters: 300, ..ProptestConfig::default() }, |(talk in talk())| {
        let case = case.fetch_add(1, Ordering::Relaxed);
        let folder = format!("box{case}");
        let id = home.store.create_folder(home.mum.id, &folder, None).unwrap().id;
        let mut programs = [Program::new(&home, &folder, false), Program::new(&home, &folder, true)];
        for (second, command) in talk {
            speak(&mut programs[usize::from(second)], &command);
        }
        let truth = home.store.messages(home.mum.id, id, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
        programs.iter_mut().for_each(|program| program.agrees(&truth));
        programs[1].come_back();
        programs[1].agrees(&truth);
        home.store.delete_folder(home.mum.id, &folder).unwrap();
    });
    let mut uids: BTreeMap<u32, usize> = BTreeMap::new();
    let trash = home.store.folder_by_name(home.mum.id, "Trash").unwrap().unwrap();
    for message in home.store.messages(home.mum.id, trash.id, Uid(1), Uid(u32::MAX), usize::MAX).unwrap() {
        *uids.entry(message.uid.0).or_default() += 1;
    }
    assert!(uids.values().all(|count| *count == 1));
}

/// Thunderbird takes the invitation to idle off what came with it, and looks at the rest when there is more: a mail that came just before stayed unheard of.
#[test]
fn what_came_before_a_program_idles_is_told_before_the_invitation() {
    let home = Home::simulated(&SimulatedDisk::default());
    let (mut idle, mut other) = (Client::new(&home), Client::new(&home));
    idle.ok("SELECT Archive");
    other.append("Archive", b"Subject: x\r\n\r\n");
    idle.send(b"i IDLE\r\n");
    idle.run();
    let said = idle.take();
    assert!(said.starts_with("* 1 EXISTS\r\n") && said.ends_with("+ Idling\r\n"), "{said:?}");
    other.append("Archive", b"Subject: y\r\n\r\n");
    idle.run();
    assert!(idle.take().starts_with("* 2 EXISTS\r\n"), "and later at once");
    idle.send(b"DONE\r\n");
    assert_eq!(idle.take(), "i OK IDLE completed\r\n");
}
