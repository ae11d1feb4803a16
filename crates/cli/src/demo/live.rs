//! What is seen while the demo runs: a table that redraws itself on a terminal, a line every few seconds otherwise.

use super::phases::Phase;
use super::scenario::{HotSpot, SERVERS};
use super::watch::Watch;
use super::window::Figures;
use crate::display::{per_second, percent};
use evenkeel_api::{ServerLoadRow, show_size};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two lines where nothing is redrawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Characters of a bar that stands for all requests.
const BAR_CELLS: usize = 36;

/// A moment of a phase.
pub(super) struct Scene<'a> {
    pub(super) phase: Phase,
    pub(super) elapsed: Duration,
    pub(super) at_most: Duration,
    /// Requests per second that are asked for.
    pub(super) offered: f64,
    /// How far behind its plan the load is.
    pub(super) behind: Duration,
    /// The last seconds.
    pub(super) recent: &'a Figures,
    /// The window that counts, once it is full.
    pub(super) window: Option<&'a Figures>,
}

/// Where progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Redrawn on stdout.
    Terminal,
    /// Line by line on stdout.
    Lines,
    /// Line by line on stderr, because stdout belongs to the result.
    Aside,
}

/// The view.
pub(super) struct Live {
    place: Place,
    /// Lines that the next drawing replaces.
    drawn: usize,
    last_line: Option<(Phase, Instant)>,
}

impl Live {
    /// On the terminal if stdout is one; with `json`, on stderr.
    pub(super) fn new(json: bool) -> Self {
        let place = match (json, std::io::stdout().is_terminal()) {
            (true, _) => Place::Aside,
            (false, true) => Place::Terminal,
            (false, false) => Place::Lines,
        };
        Self { place, drawn: 0, last_line: None }
    }

    /// Says something that stays.
    pub(super) fn say(&mut self, text: &str) {
        // What was drawn stays where it is; drawing goes on below.
        self.drawn = 0;
        self.write(&format!("{text}\n"));
    }

    /// Names the hot spot that the load now has.
    pub(super) fn hot_spot(&mut self, spot: &HotSpot, offered: f64, names: &[String]) {
        self.say(&format!(
            "{} requests/s around extent {}: by placement {} gets {} of them, {:.2} times the mean",
            per_second(offered),
            spot.extent,
            names[spot.server],
            percent(spot.share),
            spot.imbalance(),
        ));
    }

    /// Shows how far a sweep over the volume is.
    pub(super) fn progress(&mut self, phase: Phase, done: f64, elapsed: Duration, watch: &Watch) {
        let done = done.min(1.0);
        let wrong = if watch.totals.has_trouble() { troubles(watch) } else { String::new() };
        let text = format!("[{:>3} s] {:<24} {:>5}  {wrong}", elapsed.as_secs(), title(phase), percent(done));
        let text = text.trim_end();
        match self.place {
            Place::Terminal => self.draw(&format!("{text}  {}\n", bar(done))),
            Place::Lines | Place::Aside => self.line(phase, text),
        }
    }

    /// Shows a moment of a phase.
    pub(super) fn show(&mut self, scene: &Scene<'_>, watch: &Watch, names: &[String]) {
        match self.place {
            Place::Terminal => self.draw(&table(scene, watch, names)),
            Place::Lines | Place::Aside => self.line(scene.phase, &line(scene, watch, names)),
        }
    }

    /// Says a line, if the last one of its phase is long enough ago.
    fn line(&mut self, phase: Phase, text: &str) {
        let now = Instant::now();
        if self.last_line.is_none_or(|(of, at)| of != phase || now - at >= LINE_EVERY) {
            self.last_line = Some((phase, now));
            self.say(text);
        }
    }

    /// Replaces what was drawn before.
    fn draw(&mut self, text: &str) {
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let cleared: String = text.lines().map(|line| format!("\x1b[2K{line}\n")).collect();
        // Fewer lines than before: the rest of the old ones goes.
        self.write(&format!("{up}\r{cleared}\x1b[J"));
        self.drawn = text.lines().count();
    }

    /// A reader that went away must not end the demo: the exit code still tells.
    fn write(&self, text: &str) {
        let _ = match self.place {
            Place::Terminal | Place::Lines => {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Place::Aside => std::io::stderr().lock().write_all(text.as_bytes()),
        };
    }
}

const fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Fill => "writing the whole volume",
        Phase::Before => "before: not balanced",
        Phase::After => "after: balancing",
        Phase::AfterShift => "the hot spot shifted",
        Phase::ReadBack => "reading everything back",
    }
}

fn line(scene: &Scene<'_>, watch: &Watch, names: &[String]) -> String {
    let figures = scene.recent;
    let shares: Vec<_> =
        names.iter().zip(figures.shares).map(|(name, share)| format!("{name} {}", percent(share))).collect();
    format!(
        "[{:>3} s] {:<24} {:>5} of {} requests/s  {}  imbalance {:.2}  p99 {}  moves {}  {}",
        scene.elapsed.as_secs(),
        title(scene.phase),
        per_second(figures.throughput),
        per_second(scene.offered),
        shares.join(" "),
        figures.imbalance,
        latency(figures.p99),
        watch.moved.completed,
        troubles(watch),
    )
}

fn table(scene: &Scene<'_>, watch: &Watch, names: &[String]) -> String {
    let figures = scene.recent;
    let mut text = format!(
        "\n  {}   {} s of {} s\n\n  server   requests/s                                          load  state       \
         moves out/in\n",
        title(scene.phase),
        scene.elapsed.as_secs(),
        scene.at_most.as_secs(),
    );
    for (name, share) in names.iter().zip(figures.shares).take(SERVERS) {
        let known =
            watch.loads.as_ref().and_then(|table| table.servers.iter().find(|row| row.server == *name));
        let (load, state, moves) = known.map_or_else(Default::default, describe);
        text += &format!(
            "  {name:<6} {:>10}  {:<BAR_CELLS$} {:>4} {load:>6}  {state:<11} {moves}\n",
            per_second(share * figures.throughput),
            bar(share),
            percent(share),
        );
    }
    let window = scene.window.map_or("...".to_owned(), |window| format!("{:.2}", window.imbalance));
    text += &format!(
        "\n  imbalance    {:.2} now, {window} over the window\n  served       {} of {} requests/s, {} behind\n",
        figures.imbalance,
        per_second(figures.throughput),
        per_second(scene.offered),
        latency(scene.behind),
    );
    let moved = watch.moved;
    text += &format!(
        "  latency      p50 {}, p99 {}\n  moves        {} done, {} under way, {} carried\n  checked      {}\n",
        latency(figures.p50),
        latency(figures.p99),
        moved.completed,
        moved.under_way,
        show_size(moved.bytes),
        troubles(watch),
    );
    text
}

fn describe(row: &ServerLoadRow) -> (String, String, String) {
    (percent(row.load), row.state.clone(), format!("{}/{}", row.moves_out, row.moves_in))
}

fn troubles(watch: &Watch) -> String {
    let totals = &watch.totals;
    if !totals.has_trouble() {
        return format!("{} blocks, all right", totals.checked_blocks);
    }
    format!(
        "{} blocks, {} MISMATCHES, {} ERRORS: {}",
        totals.checked_blocks,
        totals.mismatches,
        totals.errors,
        totals.first_trouble.as_deref().unwrap_or_default()
    )
}

fn bar(share: f64) -> String {
    "█".repeat((share * BAR_CELLS as f64).round() as usize)
}

/// A latency with the digits that matter.
pub(super) fn latency(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 9.95 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_keep_the_digits_that_matter() {
        for (us, text) in
            [(0, "0.0 ms"), (1_240, "1.2 ms"), (15_400, "15 ms"), (999_600, "1.0 s"), (2_340_000, "2.3 s")]
        {
            assert_eq!(latency(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0.5).chars().count(), BAR_CELLS / 2);
        assert_eq!((bar(0.0).as_str(), bar(1.0).chars().count()), ("", BAR_CELLS));
    }
}
