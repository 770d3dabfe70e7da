//! The people of the household as the node sees them: made with all their keys in one commit, logged in by the names of the machine's users.

use kith_protocol::event::Now;
use kith_store::account::{Account, FIRST_LABEL, NAME_BYTES_MAX, PasswordHash, generate_password};
use kith_store::{Store, StoreError};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::control::Refusal;
use crate::identity;

/// The secret row of the node's own key.
const PEER_ROW: &str = "node/peer";
/// The longest passphrase file, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 4096;

/// A new account.
pub struct Made {
    /// The account.
    pub account: Account,
    /// The password, where one was generated: shown once.
    pub password: Option<Zeroizing<String>>,
}

/// Makes an account with its keys, folders and first password, in one commit. Without a password one is generated.
///
/// # Errors
/// [`Refusal`]: the name is taken or cannot be one.
pub fn add(store: &Store, name: &str, password: Option<Zeroizing<String>>, now: Now) -> Result<Made, Refusal> {
    let generated = match &password {
        Some(_) => None,
        None => Some(generate_password()?),
    };
    let hash = {
        let password = password.as_ref().or(generated.as_ref()).map(|password| password.as_bytes()).unwrap_or_default();
        PasswordHash::of(password)?
    };
    let new = identity::NewIdentity::create(now.wall, &mut rand::rng())?;
    let name = name.to_owned();
    let account = store.write(move |transaction| {
        let account = transaction.add_account(&name, new.address(), &hash)?;
        for (row, secret) in new.rows() {
            transaction.put_secret(&format!("{}/{row}", account.id.0), secret)?;
        }
        Ok(account)
    })?;
    Ok(Made { account, password: generated })
}

/// At the first start: an account named after the login user. `None` where there are accounts already.
///
/// # Errors
/// As [`add`].
pub fn first_account(store: &Store, now: Now) -> Result<Option<(String, String, Zeroizing<String>)>, Refusal> {
    if !store.accounts()?.is_empty() {
        return Ok(None);
    }
    let made = add(store, &login_name(), None, now)?;
    Ok(made.password.map(|password| (made.account.name, made.account.address.mail(), password)))
}

/// The name of the person who runs this, as an account can be called.
pub fn login_name() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let name: String = user
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' })
        .take(NAME_BYTES_MAX)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "me".to_owned() } else { name.to_owned() }
}

/// A password of 100 random bits.
///
/// # Errors
/// The system has no randomness.
pub fn generated_password() -> Result<Zeroizing<String>, Refusal> {
    Ok(generate_password()?)
}

/// The label of the password that an account is made with.
pub const DEFAULT_LABEL: &str = FIRST_LABEL;

/// The passphrase for the home's keys: the first line of the file that `KITH_PASSPHRASE_FILE` names, if it names one.
pub fn passphrase() -> Option<Zeroizing<Vec<u8>>> {
    let path = std::env::var_os("KITH_PASSPHRASE_FILE").filter(|path| !path.is_empty())?;
    let bytes = Zeroizing::new(std::fs::read(path).ok()?);
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    (!line.is_empty() && line.len() <= PASSPHRASE_BYTES_MAX).then(|| Zeroizing::new(line.to_vec()))
}

/// The seed of the node's own key, made at the first start. It names the node to its peers and has nothing to do with any mailbox.
///
/// # Errors
/// The store fails, or the row is damaged.
pub fn peer_seed(store: &Store) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    if let Some(row) = store.secret(PEER_ROW)? {
        let seed: [u8; 32] =
            row.as_slice().try_into().map_err(|_| Refusal::from(StoreError::Damaged(format!("the secret row {PEER_ROW}"))))?;
        return Ok(Zeroizing::new(seed));
    }
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    let row = seed.clone();
    store.write(move |transaction| transaction.put_secret(PEER_ROW, &*row))?;
    Ok(seed)
}

/// The 24 words of an account, while they are still here.
///
/// # Errors
/// [`Refusal`] when they were forgotten.
pub fn words(store: &Store, account: &Account) -> Result<Value, Refusal> {
    let words = identity::words(store, account)?
        .ok_or_else(|| Refusal::new("the words are not on this node any more", "they are where you wrote them down"))?;
    Ok(json!({ "name": account.name, "words": words.as_str() }))
}

/// Removes the words from the node.
///
/// # Errors
/// The store fails.
pub fn forget_words(store: &Store, account: &Account) -> Result<Value, Refusal> {
    let row = format!("{}/{}", account.id.0, identity::SEED_ROW);
    store.write(move |transaction| transaction.erase_secret(&row))?;
    Ok(json!({}))
}
