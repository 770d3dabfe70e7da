//! A few delivery cores with each other, in virtual time: what people are promised, whatever the network, the disks and the clocks do.

mod directory;
mod disk;
mod grace;
mod liars;
mod lifetime;
mod receipts;
mod receiving;
mod relays;
mod schedules;
mod volunteers;
mod ways;
mod world;
