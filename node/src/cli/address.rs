//! `kith address`: what to give to a friend.

use std::path::Path;

use clap::Args;

use super::output::{self, Failure};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// Whose; the only account's where there is one.
    name: Option<String>,
    /// Draw it as a QR code, for a phone or another screen.
    #[arg(long)]
    qr: bool,
    /// Print the link that `kith contact add` takes.
    #[arg(long, conflicts_with = "qr")]
    uri: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn perform(home: &Path, args: &AddressArgs) -> Result<(), Failure> {
    let answer = output::ask(home, &Request::Address { name: args.name.clone() }, &[])?;
    if args.json {
        return output::print_json(&answer);
    }
    if args.uri {
        return output::print(output::text(&answer, "uri"));
    }
    if args.qr {
        output::print(&drawn(output::text(&answer, "qr"))?)?;
    }
    output::print(output::text(&answer, "address"))
}

/// A QR code in half blocks, dark on light, with the quiet zone that readers need.
pub(super) fn drawn(text: &str) -> Result<String, Failure> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M)
        .map_err(|error| Failure::new(format!("the code could not be drawn: {error}"), ""))?;
    Ok(code
        .render::<qrcode::render::unicode::Dense1x2>()
        .quiet_zone(true)
        .dark_color(qrcode::render::unicode::Dense1x2::Light)
        .light_color(qrcode::render::unicode::Dense1x2::Dark)
        .build())
}
