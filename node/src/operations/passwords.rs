//! Passwords for mail programs, asked for at the command line: set, added one for each program, listed, withdrawn.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, named};
use crate::control::{Password, Refusal};
use crate::people;

/// The password that was given, or a generated one, which the answer shows.
fn given_or_made(password: Option<Password>) -> Result<(Zeroizing<String>, Value), Refusal> {
    match password {
        Some(password) => Ok((password.0, json!({}))),
        None => {
            let made = people::generated_password()?;
            let shown = json!({ "password": made.as_str() });
            Ok((made, shown))
        }
    }
}

/// Replaces or adds a password.
pub(super) fn set(context: &Context, name: &str, label: &str, password: Option<Password>) -> Result<Value, Refusal> {
    let account = named(&context.store, Some(name))?;
    let (password, answer) = given_or_made(password)?;
    context.store.set_password(account.id, label, password.as_bytes())?;
    Ok(answer)
}

/// Adds a password for one more program.
pub(super) fn add(context: &Context, account: Option<&str>, label: &str, password: Option<Password>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (password, mut answer) = given_or_made(password)?;
    context.store.add_password(account.id, label, password.as_bytes()).map_err(|error| match error {
        kith_store::StoreError::Exists(_) => Refusal::new(
            format!("{} has a password called `{label}` already", account.name),
            format!("choose another name, or withdraw that one first: kith account password remove '{label}'"),
        ),
        other => other.into(),
    })?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("account".into(), json!(account.name));
        fields.insert("program".into(), json!(label));
    }
    Ok(answer)
}

/// Lists an account's passwords, without what they are.
pub(super) fn list(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let passwords: Vec<Value> = context
        .store
        .passwords(account.id)?
        .into_iter()
        .map(|password| json!({ "program": password.label, "made": password.made, "used": password.used }))
        .collect();
    Ok(json!({ "account": account.name, "passwords": passwords }))
}

/// Withdraws a password; whoever is logged in with it is shut out.
pub(super) fn remove(context: &Context, name: Option<&str>, label: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, name)?;
    context.store.remove_password(account.id, label).map_err(|error| match error {
        kith_store::StoreError::NotFound(_) => {
            Refusal::new(format!("{} has no password called `{label}`", account.name), "see `kith account password list`")
        }
        other => other.into(),
    })?;
    Ok(json!({}))
}
