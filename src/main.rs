//! The `emsync` program: parse, prepare, run one command, exit with its code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use clap::Parser as _;
use emsync::cli::args::Cli;
use emsync::cli::{ExitCode, prepare, run};

fn main() -> process::ExitCode {
    let cli = Cli::parse();
    let ended = prepare(&cli).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let ended =
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(cli)))).unwrap_or_else(|_| {
                Err(anyhow::anyhow!(
                    "emsync broke down; the next run goes on from what is on disk"
                ))
            });
        // Blocking threads that are still at work hold nothing that the next run could not take up again.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => code.into(),
        Err(error) => {
            let code = ExitCode::of(&error);
            // A reader of our output that has seen enough is no error.
            if code != ExitCode::Ok {
                tracing::error!("{error:#}");
            }
            code.into()
        }
    }
}
