//! A load on a thread of its own.

use crate::generator::{Generator, LoadOptions};
use crate::sample::Sample;
use crate::schedule::Pacing;
use crate::source::Source;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest time for an answer of the thread; it looks for questions every few milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

enum Order {
    Run(Box<Source>, Pacing),
    Redirect(Box<Source>),
    Pause,
    Sample(Sender<Sample>),
    Stop,
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    orders: Sender<Order>,
    /// None once it was seen to have ended.
    thread: Option<JoinHandle<Result<(), String>>>,
    volume_bytes: u64,
}

impl Load {
    /// Logs in everywhere and waits for orders.
    ///
    /// # Errors
    /// One line with the portal that refused.
    pub fn start(options: &LoadOptions) -> Result<Self, String> {
        let generator = Generator::connect(options)?;
        let volume_bytes = generator.volume_bytes();
        let (orders, received) = channel();
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || obey(generator, &received))
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { orders, thread: Some(thread), volume_bytes })
    }

    /// Size of the volume in bytes.
    pub const fn volume_bytes(&self) -> u64 {
        self.volume_bytes
    }

    /// Asks from now on what `source` says, in this pace.
    pub fn run(&self, source: Source, pacing: Pacing) {
        self.order(Order::Run(Box::new(source), pacing));
    }

    /// Asks something else at the same pace, without a break.
    pub fn redirect(&self, source: Source) {
        self.order(Order::Redirect(Box::new(source)));
    }

    /// Asks nothing more.
    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    /// What happened since the last sample.
    ///
    /// # Errors
    /// If the load has ended: why.
    pub fn sample(&mut self) -> Result<Sample, String> {
        let (answer, answered) = channel();
        self.order(Order::Sample(answer));
        answered.recv_timeout(ANSWER_TIMEOUT).map_err(|_| self.verdict())
    }

    /// Why there is no answer.
    fn verdict(&mut self) -> String {
        match self.thread.take_if(|thread| thread.is_finished()).map(JoinHandle::join) {
            None => format!("the load has not answered for {} s", ANSWER_TIMEOUT.as_secs()),
            Some(Ok(Err(why))) => why,
            Some(Ok(Ok(()))) => "the load has ended".to_owned(),
            Some(Err(_)) => "the thread of the load panicked".to_owned(),
        }
    }

    /// Ends the load and logs out.
    pub fn stop(self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }

    /// An order to a thread that has ended is lost; the next sample tells.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

fn obey(mut generator: Generator, orders: &Receiver<Order>) -> Result<(), String> {
    loop {
        loop {
            match orders.try_recv() {
                Ok(Order::Run(source, pacing)) => generator.run(*source, pacing),
                Ok(Order::Redirect(source)) => generator.redirect(*source),
                Ok(Order::Pause) => generator.pause(),
                Ok(Order::Sample(answer)) => drop(answer.send(generator.take_sample())),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => {
                    generator.close();
                    return Ok(());
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        generator.turn()?;
    }
}
