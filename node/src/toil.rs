//! The thread that does the work which other people's nodes ask of strangers: one piece after the other, stopped in between when the node stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use kith_protocol::event::Event;
use kith_protocol::ids::{EnvelopeId, Op};
use kith_protocol::work::{Solver, Work};
use tokio::sync::mpsc;

use crate::engine::Answered;

/// Pieces of work that may wait; beyond, letters wait for another reason to be tried.
const WAITING_MAX: usize = 64;

/// One piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The question.
    pub op: Op,
    /// What it is bound to.
    pub tag: [u8; 16],
    /// For which envelope.
    pub envelope: EnvelopeId,
    /// How much.
    pub effort: u32,
}

/// The engine's end.
pub struct Toil {
    tasks: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Toil {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(answers: mpsc::Sender<Answered>) -> std::io::Result<Self> {
        let (tasks, waiting) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("kith-work".into()).spawn(move || toil(&waiting, &stopped, &answers))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread), stop })
    }

    /// Hands a piece over; false where too much waits already.
    pub fn send(&self, task: Task) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.try_send(task).is_ok())
    }

    /// Ends the thread, whatever it is at.
    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the working thread ended in a panic");
        }
    }
}

fn toil(waiting: &Receiver<Task>, stop: &AtomicBool, answers: &mpsc::Sender<Answered>) {
    while let Ok(task) = waiting.recv() {
        let work = solve(&task, stop);
        if stop.load(Ordering::Relaxed) || answers.blocking_send(Answered::Event(Event::Worked { op: task.op, work })).is_err() {
            return;
        }
    }
}

fn solve(task: &Task, stop: &AtomicBool) -> Option<Work> {
    let mut solver = Solver::new(task.tag, task.envelope, task.effort, rand::random());
    while !stop.load(Ordering::Relaxed) {
        if let Some(work) = solver.step() {
            return Some(work);
        }
    }
    None
}
