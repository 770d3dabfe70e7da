//! What may befall machines and networks while they run.

use super::World;
use super::home::Ailment;
use super::model::Model;

/// Something that happens to a machine or the network.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Incident {
    /// A node loses its power for so many ms.
    PowerCut(u32, u64),
    /// A node is restarted in good order, and is up again after so many ms.
    Restart(u32, u64),
    /// A node is not started for so many ms: it is broken, or its owners are moving.
    Away(u32, u64),
    /// A node's disk is lost, its address book was saved elsewhere: it begins anew.
    Wiped(u32),
    /// From now on these nodes are on their own: the sides of all nodes.
    Split(Vec<u8>),
    /// Everybody reaches everybody again.
    Healed,
    /// Everybody who is on connects to everybody.
    Contact,
    /// All connections of a node break.
    Broken(u32),
    /// A node's clock is so many ms ahead of the true time from now on.
    Clock(u32, i64),
    /// Something is wrong with a node's disk, or is not any more.
    Disk(u32, Ailment),
    /// A node's network has changed, or it woke up.
    Roused(u32),
    /// A node becomes a liar, or honest again.
    Lying(u32, bool),
    /// The share of questions to which the directory has no answer.
    Directory(f64),
}

impl World {
    pub(super) fn befalls(&mut self, incident: Incident) {
        match incident {
            Incident::PowerCut(node, ms) => self.crash(node, ms),
            Incident::Restart(node, ms) | Incident::Away(node, ms) => {
                self.stop(node);
                self.down(node, ms);
            }
            Incident::Wiped(node) => {
                self.crash(node, 1);
                self.tell_tale(node, || "begins anew with an empty disk".to_owned());
                let relays = self.nodes[node as usize].relays.clone();
                let wall = self.wall();
                let kept = self.nodes[node as usize].home.kept(wall).unwrap_or_default();
                let mut home = Model::new(&relays);
                for (of, learned) in kept.cards {
                    super::Home::learn(&mut home, of, learned);
                }
                self.nodes[node as usize].home = Box::new(home);
                self.nodes[node as usize].told.clear();
                self.nodes[node as usize].load.bytes = 0;
            }
            Incident::Split(sides) => {
                self.tell_tale(0, || format!("the network falls apart: {sides:?}"));
                self.network.split(sides);
                let pairs =
                    (0..self.count()).flat_map(|node| self.nodes[node as usize].peers.iter().map(move |other| (node, *other)));
                let apart: Vec<(u32, u32)> = pairs.filter(|(one, other)| self.network.parts(*one, *other)).collect();
                apart.into_iter().for_each(|(one, other)| self.part(one, other));
            }
            Incident::Healed => {
                self.tell_tale(0, || "the network is whole again".to_owned());
                self.network.split(Vec::new());
            }
            Incident::Contact => {
                for one in 0..self.count() {
                    (one + 1..self.count()).for_each(|other| {
                        self.connect(one, other);
                    });
                }
            }
            Incident::Broken(node) => {
                self.tell_tale(node, || "all its connections break".to_owned());
                for other in self.nodes[node as usize].peers.iter().copied().collect::<Vec<u32>>() {
                    self.part(node, other);
                }
            }
            Incident::Clock(node, skew) => {
                self.tell_tale(node, || format!("its clock is {} s ahead from now on", skew / 1000));
                self.nodes[node as usize].skew = skew;
            }
            Incident::Disk(node, ailment) => {
                self.tell_tale(node, || format!("its disk: {ailment:?}"));
                let n = &mut self.nodes[node as usize];
                n.home.ail(ailment, &mut |bound| n.network.below(bound));
                if ailment == Ailment::None {
                    self.mended(node);
                }
            }
            Incident::Roused(node) => self.handle(node, kith_protocol::event::Event::NetworkChanged),
            Incident::Lying(node, lies) => self.nodes[node as usize].liar = lies,
            Incident::Directory(silent) => self.network.silent = silent,
        }
    }
}
