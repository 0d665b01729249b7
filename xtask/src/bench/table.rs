//! From the load tool's rows to medians, ratios and floors.

use crate::process::Failure;
use std::collections::HashMap;
use std::fmt::Write;

/// What a system has to reach under a load.
pub(super) struct Floor {
    pub(super) system: &'static str,
    pub(super) load: &'static str,
    pub(super) bound: Bound,
}

/// In what.
pub(super) enum Bound {
    /// Messages a second, at least this many times those of the first system in the same round.
    Ratio(f64),
    /// Peak memory in MiB, at most (proportional set size).
    Memory(f64),
}

/// One run of one system under one load.
struct Row {
    round: String,
    system: String,
    load: String,
    values: HashMap<String, f64>,
}

/// All runs of one call of the load tool, in its order.
pub(super) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// Reads tab-separated values with a line of names.
    pub(super) fn parse(content: &str) -> Result<Self, Failure> {
        let mut lines = content.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        let mut rows = Vec::new();
        for line in lines {
            let mut texts: HashMap<&str, &str> = names.iter().copied().zip(line.split('\t')).collect();
            let mut text = |name: &str| texts.remove(name).unwrap_or_default().to_owned();
            let (round, system, load) = (text("round"), text("sut"), text("scen"));
            let number = |(name, text): (&str, &str)| text.parse().ok().map(|number| (name.to_owned(), number));
            rows.push(Row { round, system, load, values: texts.into_iter().filter_map(number).collect() });
        }
        if rows.is_empty() {
            return Err(Failure::Said("the load tool wrote no results".to_owned()));
        }
        Ok(Self { rows })
    }

    /// Systems under loads, in the order of the runs.
    fn groups(&self) -> Vec<(&str, &str)> {
        let mut groups = Vec::new();
        for row in &self.rows {
            if !groups.contains(&(row.load.as_str(), row.system.as_str())) {
                groups.push((row.load.as_str(), row.system.as_str()));
            }
        }
        groups
    }

    fn values(&self, load: &str, system: &str, name: &str) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.load == load && row.system == system);
        let mut values: Vec<f64> = rows.filter_map(|row| row.values.get(name).copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, load: &str, system: &str, name: &str) -> f64 {
        median(&self.values(load, system, name))
    }

    /// The median over the rounds of this system's rate to the first system's in the same round.
    fn ratio(&self, load: &str, system: &str) -> f64 {
        let Some(first) = self.rows.first().map(|row| row.system.as_str()) else { return 0.0 };
        let rate = |row: &Row| row.values.get("e2e_rate").copied();
        let mine = self.rows.iter().filter(|row| row.load == load && row.system == system);
        let mut ratios: Vec<f64> = mine
            .filter_map(|row| {
                let same = |other: &&Row| other.round == row.round && other.load == load && other.system == first;
                Some(rate(row)? / self.rows.iter().find(same).and_then(rate)?)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        median(&ratios)
    }

    /// A table for people and for docs/performance.md.
    pub(super) fn table(&self) -> String {
        let mut table = String::from(
            "| load | system | messages/s, end to end: median (least, most) | ratio | p50, p99 in ms | CPU s per 1000 | \
             peak MiB | KiB to disk each | flushes each | lost, doubled, failed | other load, cores |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (load, system) in self.groups() {
            let rates = self.values(load, system, "e2e_rate");
            let (least, most) = (rates.first().copied().unwrap_or(0.0), rates.last().copied().unwrap_or(0.0));
            let of = |name: &str| self.median(load, system, name);
            let all = |name: &str| self.values(load, system, name).iter().sum::<f64>();
            // Writing to a String does not fail.
            writeln!(
                table,
                "| {load} | {system} | {:.0} ({least:.0}, {most:.0}) | {:.2} | {:.1}, {:.1} | {:.2} | {:.0} | {:.0} | {:.2} | {:.0}, {:.0}, {:.0} | {:.2} |",
                median(&rates),
                self.ratio(load, system),
                of("e2e_p50_ms"),
                of("e2e_p99_ms"),
                of("cpu_per_1000"),
                of("pss_mib"),
                of("disk_per_msg") / 1024.0,
                of("flush_per_msg"),
                all("missing"),
                all("dups"),
                all("failed"),
                of("foreign_cpu"),
            )
            .ok();
        }
        table
    }

    /// Each floor, and what was reached.
    pub(super) fn floors(&self, floors: &[Floor]) -> String {
        let mut table = String::from("| load | system | floor | reached | |\n|---|---|---|---|---|\n");
        for floor in floors {
            let (wanted, reached, kept) = self.reached(floor);
            let kept = if kept { "kept" } else { "MISSED" };
            writeln!(table, "| {} | {} | {wanted} | {reached} | {kept} |", floor.load, floor.system).ok();
        }
        table
    }

    fn reached(&self, floor: &Floor) -> (String, String, bool) {
        match floor.bound {
            Bound::Ratio(least) => {
                let ratio = self.ratio(floor.load, floor.system);
                (format!("{least:.2} x"), format!("{ratio:.2} x"), ratio >= least)
            }
            Bound::Memory(most) => {
                let memory = self.values(floor.load, floor.system, "pss_mib").last().copied().unwrap_or(f64::INFINITY);
                (format!("at most {most:.0} MiB"), format!("{memory:.0} MiB"), memory <= most)
            }
        }
    }

    /// Why the figures don't count or don't suffice, a line each.
    pub(super) fn broken(&self, floors: &[Floor]) -> Vec<String> {
        let mut broken = Vec::new();
        for row in &self.rows {
            let value = |name: &str| row.values.get(name).copied();
            for what in ["missing", "dups", "failed"] {
                if value(what) != Some(0.0) {
                    broken.push(format!("{} at {}, round {}: {what} is not 0", row.system, row.load, row.round));
                }
            }
            // Counts of mails, exact in a float.
            if row.system.starts_with("sign") && value("smime").is_none_or(|smime| Some(smime) != value("received")) {
                broken.push(format!("{} at {}, round {}: not every mail is S/MIME", row.system, row.load, row.round));
            }
        }
        for floor in floors {
            let (wanted, reached, kept) = self.reached(floor);
            if !kept {
                broken.push(format!("{} at {}: expected {wanted}, found {reached}", floor.system, floor.load));
            }
        }
        broken
    }
}

/// Of sorted values; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) && half > 0 { f64::midpoint(at(half - 1), at(half)) } else { at(half) }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Floor, Rows, median};

    const RESULTS: &str = "round\tsut\tscen\te2e_rate\tpss_mib\tmissing\tdups\tfailed\tsmime\treceived\n\
        1\tpostfix\t20k:10\t500\t70\t0\t0\t0\t0\t10\n1\tsign\t20k:10\t600\t20\t0\t0\t0\t10\t10\n\
        2\tpostfix\t20k:10\t400\t71\t0\t0\t0\t0\t10\n2\tsign\t20k:10\t600\t22\t0\t0\t0\t10\t10\n";

    fn floor(bound: Bound) -> [Floor; 1] {
        [Floor { system: "sign", load: "20k:10", bound }]
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let rows = Rows::parse(RESULTS).ok();
        let ratio = rows.map(|rows| rows.ratio("20k:10", "sign"));
        assert_eq!(ratio, Some(1.35));
    }

    #[test]
    fn floors_are_kept_or_said_to_be_missed() {
        let broken = |results: &str, bound| Rows::parse(results).map(|rows| rows.broken(&floor(bound)).len()).ok();
        assert_eq!(broken(RESULTS, Bound::Ratio(1.3)), Some(0));
        assert_eq!(broken(RESULTS, Bound::Ratio(1.4)), Some(1));
        assert_eq!(broken(RESULTS, Bound::Memory(22.0)), Some(0));
        assert_eq!(broken(RESULTS, Bound::Memory(21.0)), Some(1));
        assert_eq!(broken(&RESULTS.replace("\t10\t10\n2", "\t9\t10\n2"), Bound::Ratio(1.0)), Some(1));
        assert_eq!(broken(&RESULTS.replace("600\t20\t0", "600\t20\t1"), Bound::Ratio(1.0)), Some(1));
        assert_eq!(broken("round\tsut\n", Bound::Ratio(1.0)), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
    }
}
