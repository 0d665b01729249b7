//! `cargo xtask bench`: this gateway beside plain Postfix in the same rounds, as a table with the floors that it has to keep.
//!
//! The load tool and the peers are those of the folder that `$SEGEL_PERF` names; its README has the method.

#![expect(clippy::disallowed_methods, reason = "writes the scripts of one run and reads its results")]

mod table;

use crate::process::{self, Failure, cargo};
use std::path::{Path, PathBuf};
use table::{Floor, Rows};

const USAGE: &str = "usage: cargo xtask bench [--rounds N] [--full] [--machine]";

/// Loads of outgoing mail: octets in each mail, then connections. The second is where memory has its floor.
const LOADS: &str = "20k:10,4k:50";
/// And what a report about all sizes wants.
const ALL_LOADS: &str = "4k:1,4k:10,4k:50,20k:1,20k:10,20k:50,200k:10,5m:4";

/// What must hold before a version leaves.
const FLOORS: [Floor; 6] = [
    Floor { system: "relay", load: "20k:10", bound: table::Bound::Ratio(2.0) },
    Floor { system: "sign", load: "20k:10", bound: table::Bound::Ratio(1.0) },
    Floor { system: "sign-encrypt", load: "20k:10", bound: table::Bound::Ratio(0.9) },
    Floor { system: "relay", load: "4k:50", bound: table::Bound::Memory(64.0) },
    Floor { system: "sign", load: "4k:50", bound: table::Bound::Memory(64.0) },
    Floor { system: "sign-encrypt", load: "4k:50", bound: table::Bound::Memory(64.0) },
];

/// How it was called.
struct Options {
    rounds: u32,
    full: bool,
    machine: bool,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let mut options = Self { rounds: 3, full: false, machine: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--full" => options.full = true,
                "--machine" => options.machine = true,
                "--rounds" => {
                    let number = rest.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
                    options.rounds = number.ok_or_else(|| Failure::Said(USAGE.to_owned()))?;
                }
                _ => return Err(Failure::Said(USAGE.to_owned())),
            }
        }
        Ok(options)
    }
}

/// Builds, measures, prints the tables. Fails where a floor is not kept, or a mail is lost, doubled or refused.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let perf = std::env::var_os("SEGEL_PERF").map(PathBuf::from);
    let Some(perf) = perf.filter(|perf| perf.join("run.sh").is_file()) else {
        let said =
            "expected SEGEL_PERF to name the folder of the load tool (with `run.sh`), found none; nothing measured";
        return Err(Failure::Said(said.to_owned()));
    };
    process::run(&cargo(), &["build", "--release", "--bin", "segel"], &[])?;
    let bench = Bench::prepare(&perf, options.rounds)?;
    if options.machine {
        process::run("bash", &[&text(&perf.join("limits.sh"))], &bench.environment())?;
    }
    let outgoing = bench.outgoing(if options.full { ALL_LOADS } else { LOADS })?;
    print!("\n## Mail on its way out\n\n{}", outgoing.table());
    let (signed, encrypted) = bench.incoming()?;
    print!("\n## Mail on its way in\n\n{}\n{}", signed.table(), encrypted.table());
    let mut broken = outgoing.broken(&FLOORS);
    broken.extend(signed.broken(&[]));
    broken.extend(encrypted.broken(&[]));
    println!("\n## Floors\n\n{}", outgoing.floors(&FLOORS));
    if broken.is_empty() { Ok(()) } else { Err(Failure::Said(broken.join("\n"))) }
}

/// The folder of one run: systems, keys, loads, results.
struct Bench {
    perf: PathBuf,
    folder: PathBuf,
    gateway: String,
    rounds: String,
}

impl Bench {
    fn prepare(perf: &Path, rounds: u32) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("segel-bench.{}", std::process::id()));
        let bench = Self {
            perf: perf.to_owned(),
            gateway: text(&process::target().join("release/segel")),
            rounds: rounds.to_string(),
            folder,
        };
        std::fs::create_dir_all(&bench.folder).map_err(|error| Failure::File(bench.folder.clone(), error))?;
        for mode in ["relay", "sign", "sign-encrypt"] {
            bench.system(mode, &format!("MODE={mode}; . \"$PERF/suts/gateway.sh\"\n"))?;
        }
        let incoming = text(&crate::root().join("benches/incoming.sh"));
        for mode in ["verify", "decrypt"] {
            bench.system(mode, &format!("MODE={mode}; . \"{incoming}\"\n"))?;
        }
        let keys = text(&bench.folder.join("keys"));
        process::run("bash", &[&text(&perf.join("crypto/mkcerts.sh")), &keys], &[])?;
        let load = text(&bench.folder.join("load"));
        process::run("bash", &[&text(&crate::root().join("benches/load.sh")), &keys, &load, "11000"], &[])?;
        Ok(bench)
    }

    /// A script that starts one system under test.
    fn system(&self, name: &str, script: &str) -> Result<(), Failure> {
        let path = self.script(name);
        std::fs::write(&path, script).map_err(|error| Failure::File(path, error))
    }

    fn script(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sh"))
    }

    fn outgoing(&self, loads: &str) -> Result<Rows, Failure> {
        self.measure("outgoing", &["relay", "sign", "sign-encrypt"], loads, None)
    }

    fn incoming(&self) -> Result<(Rows, Rows), Failure> {
        let signed = self.measure("verify", &["verify"], "20k:10", Some("load/signed"))?;
        let encrypted = self.measure("decrypt", &["decrypt"], "20k:50", Some("load/encrypted"))?;
        Ok((signed, encrypted))
    }

    /// Postfix, then the systems, in rounds. `mail` is the content of each mail where it is not made up.
    fn measure(&self, name: &str, systems: &[&str], loads: &str, mail: Option<&str>) -> Result<Rows, Failure> {
        let results = self.folder.join(format!("{name}.tsv"));
        let mut line = vec![text(&self.perf.join("run.sh")), "-r".to_owned(), self.rounds.clone()];
        line.extend(["-s".to_owned(), loads.to_owned(), "-o".to_owned(), text(&results)]);
        if let Some(mail) = mail {
            line.push(format!("-x=-t bob@dst.test -F {}", text(&self.folder.join(mail))));
        }
        line.push(format!("postfix={}", text(&self.perf.join("suts/postfix.sh"))));
        line.extend(systems.iter().map(|system| format!("{system}={}", text(&self.script(system)))));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        process::run("bash", &line, &self.environment())?;
        let content = std::fs::read_to_string(&results).map_err(|error| Failure::File(results, error))?;
        Rows::parse(&content)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let keys = text(&self.folder.join("keys"));
        vec![("SEGEL", self.gateway.clone()), ("PERF", text(&self.perf)), ("KEYS", keys)]
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What stays behind is a temporary folder.
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
