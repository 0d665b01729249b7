//! The binary: parses arguments and calls `cli`; nothing else.

fn main() -> std::process::ExitCode {
    segel::cli::main()
}
