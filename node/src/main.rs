//! `kith`: the daemon and the command.

fn main() -> std::process::ExitCode {
    kithmail::cli::main()
}
