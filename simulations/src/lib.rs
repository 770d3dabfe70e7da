//! Whether mail between offline peers arrives: the delivery core that ships, in virtual time, among nodes that come and go.
//!
//! [`world`] runs the cores; [`availability`] says when nodes are on, [`oracle`] what would have been possible, [`statistics`] what came of it,
//! [`scenario`] what is asked.

pub mod availability;
pub mod clock;
pub mod faults;
pub mod lab;
pub mod names;
pub mod oracle;
pub mod report;
pub mod scenario;
pub mod statistics;
pub mod stream;
pub mod trace;
pub mod world;
