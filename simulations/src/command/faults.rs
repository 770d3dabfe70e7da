//! `simulate faults`: many seeds, or one plan again; what fails is made smaller and told.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use kith_simulations::faults::{Breach, Plan, Swarm, Verdict, smaller, swarm};
use kith_simulations::report;

use super::{Arguments, Mistake, clear, show, stop, typed, write};

/// Seeds that are made smaller, at most: one bug often has many.
const SHRUNK_MAX: usize = 3;
/// Lines of a tale that are printed.
const LINES_MAX: usize = 120;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Mistake> {
    if let Some(path) = &arguments.file {
        return again(path);
    }
    let (first, count) = arguments.seeds(200);
    let begun = Instant::now();
    let (found, failing) = swarm(first, count, arguments.hasty, &|done| {
        show(&format!("{done} of {count} seeds"));
        !stop::asked().load(Ordering::Relaxed)
    });
    clear();
    let seconds = begun.elapsed().as_secs_f64();
    say(&found, seconds);
    let mut tales = Vec::new();
    for (seed, breaches) in failing.iter().take(SHRUNK_MAX) {
        let drawn = Plan { hasty: arguments.hasty, ..Plan::drawn(*seed) };
        let Some(breach) = breaches.first() else { continue };
        let (small, runs) = smaller(&drawn, breach.kind, &mut |runs| show(&format!("seed {seed}: {runs} smaller plans tried")));
        clear();
        let verdict = small.run(true);
        println!("seed {seed}: {} ({} more); smallest plan after {runs} runs:", breach.what, breaches.len() - 1);
        tell(&small, &verdict);
        tales.push((*seed, small, verdict));
    }
    if let Some(out) = &arguments.out {
        save(out, &found, seconds, &tales)?;
    }
    Ok(if found.failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A plan from a file.
fn again(path: &Path) -> Result<ExitCode, Mistake> {
    let bad = |reason: String| Mistake::Plan(path.to_owned(), reason);
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let plan: Plan = toml::from_str(&text).map_err(|error| bad(error.message().to_owned()))?;
    plan.check().map_err(bad)?;
    let verdict = plan.run(true);
    tell(&plan, &verdict);
    Ok(if verdict.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(found: &Swarm, seconds: f64) {
    println!(
        "{} seeds: {} mails, {} delivered, {} failed and said so ({} of them had arrived), {} faults",
        found.seeds, found.mails, found.delivered, found.failed, found.bounced_falsely, found.incidents
    );
    println!("{} seeds broke a promise", found.failing.len());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let rate = found.node_hours / (seconds * cores / 3600.0).max(1e-9) / 1e6;
    eprintln!("  {:.0} node-hours in {seconds:.1} s, {rate:.1} million a core-hour; {} events", found.node_hours, found.events);
}

fn tell(plan: &Plan, verdict: &Verdict) {
    for line in lines(verdict) {
        println!("  {line}");
    }
    println!(
        "  {} people, {} relays, {} mails, {} faults; all well from {:.0} s on",
        plan.people,
        plan.relays,
        plan.letters.len(),
        plan.incidents.len(),
        plan.healed_ms as f64 / 1000.0
    );
    for Breach { at_ms, node, kind, what } in &verdict.breaches {
        println!("  BROKEN {kind:?} at {:.3} s, node {node}: {what}", *at_ms as f64 / 1000.0);
    }
}

/// The tale, without its middle where it is long.
fn lines(verdict: &Verdict) -> Vec<String> {
    let all = &verdict.tale;
    if all.len() <= LINES_MAX {
        return all.clone();
    }
    let half = LINES_MAX / 2;
    let left_out = format!("… {} lines …", all.len() - 2 * half);
    all[..half].iter().cloned().chain([left_out]).chain(all[all.len() - half..].iter().cloned()).collect()
}

fn save(out: &Path, found: &Swarm, seconds: f64, tales: &[(u64, Plan, Verdict)]) -> Result<(), Mistake> {
    let failed = |error: String| Mistake::Write(out.to_owned(), std::io::Error::other(error));
    let mut page = report::head("Faults by the swarm");
    let _ = write!(
        page,
        "<p>Made by <code>{}</code> in {seconds:.0} s. Each seed draws its own faults, runs until all is well again, and then waits for everything to arrive.</p><table>",
        typed()
    );
    let rows: [(&str, f64); 8] = [
        ("seeds", found.seeds as f64),
        ("seeds that broke a promise", found.failing.len() as f64),
        ("mails accepted", found.mails as f64),
        ("delivered", found.delivered as f64),
        ("failed, and said so", found.failed as f64),
        ("of them had arrived", found.bounced_falsely as f64),
        ("faults", found.incidents as f64),
        ("node-hours", found.node_hours),
    ];
    for (name, value) in rows {
        let _ = write!(page, "<tr><td>{name}</td><td class=\"n\">{value:.0}</td></tr>");
    }
    page.push_str("</table>");
    for (seed, plan, verdict) in tales {
        let _ = write!(page, "<section><h2>Seed {seed}</h2><pre>");
        for line in lines(verdict) {
            let _ = writeln!(page, "{}", report::escaped(&line));
        }
        for breach in &verdict.breaches {
            let _ = writeln!(page, "{}", report::escaped(&format!("BROKEN {:?}: {}", breach.kind, breach.what)));
        }
        page.push_str("</pre></section>");
        let text = toml::to_string(plan).map_err(|error| failed(error.to_string()))?;
        write(out, &format!("seed-{seed}.toml"), text.as_bytes())?;
    }
    page.push_str("</main></html>\n");
    write(out, "report.html", page.as_bytes())?;
    write(out, "faults.json", &serde_json::to_vec_pretty(found).map_err(|error| failed(error.to_string()))?)?;
    write(out, "digest.txt", (found.digest.clone() + "\n").as_bytes())?;
    println!("{}", out.join("report.html").display());
    Ok(())
}
