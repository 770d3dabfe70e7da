//! What SORT and THREAD need to know of each message that is found (RFC 5256).

use kith_store::folder::Message;

use super::matching::Bytes;
use super::{Purpose, Refused, Session};
use crate::sorting::{SortKey, Sorted, Value};
use crate::structure::{Entry, addresses, fields, unfold};
use crate::subject::{self, Base};
use crate::text::decoded;
use crate::threading::{Algorithm, Threaded};

impl Session {
    pub(super) fn gather(&self, purpose: &mut Purpose, message: &Message, bytes: &mut Bytes) -> Result<(), Refused> {
        match purpose {
            Purpose::Search => {}
            Purpose::Sort(criteria, sorted) => {
                let mut values = Vec::with_capacity(criteria.len());
                for criterion in criteria {
                    values.push(self.value(criterion.key, message, bytes)?);
                }
                sorted.push(Sorted { uid: message.uid.0, values });
            }
            Purpose::Thread(algorithm, threads) => {
                let (subject, date) = (self.base_subject(message, bytes)?, self.sent_or_received(message, bytes)?);
                let mut threaded = Threaded { uid: message.uid.0, date, subject, id: None, references: Vec::new() };
                if *algorithm == Algorithm::References {
                    // One header has all three.
                    let header = self.header("References", message, bytes)?;
                    let field = |name: &str| fields(header).find(|field| field.is(name)).map(|field| field.value);
                    threaded.id = field("Message-ID").and_then(|value| threads.ids.numbers(value).first().copied());
                    threaded.references = field("References").map(|value| threads.ids.numbers(value)).unwrap_or_default();
                    if threaded.references.is_empty() {
                        // RFC 5256 §3, step 1: of In-Reply-To the first one counts.
                        let replied = field("In-Reply-To").map(|value| threads.ids.numbers(value)).unwrap_or_default();
                        threaded.references = replied.into_iter().take(1).collect();
                    }
                }
                threads.messages.push(threaded);
            }
        }
        Ok(())
    }

    fn value(&self, key: SortKey, message: &Message, bytes: &mut Bytes) -> Result<Value, Refused> {
        Ok(match key {
            SortKey::Arrival => Value::Number(message.internal_date),
            SortKey::Size => Value::Number(i64::try_from(message.size).unwrap_or(i64::MAX)),
            SortKey::Date => Value::Number(self.sent_or_received(message, bytes)?),
            SortKey::Subject => Value::Text(self.base_subject(message, bytes)?.text),
            SortKey::From => self.first_local_part("From", message, bytes)?,
            SortKey::To => self.first_local_part("To", message, bytes)?,
            SortKey::Cc => self.first_local_part("Cc", message, bytes)?,
        })
    }

    fn first_local_part(&self, name: &str, message: &Message, bytes: &mut Bytes) -> Result<Value, Refused> {
        let header = self.header(name, message, bytes)?;
        let entries =
            fields(header).find(|field| field.is(name)).map(|field| addresses(&unfold(field.value))).unwrap_or_default();
        let first = entries.iter().find_map(|entry| match entry {
            Entry::Address { mailbox, .. } => Some(subject::collated(&decoded(mailbox))),
            Entry::GroupStart(_) | Entry::GroupEnd => None,
        });
        Ok(Value::Text(first.unwrap_or_default()))
    }

    fn base_subject(&self, message: &Message, bytes: &mut Bytes) -> Result<Base, Refused> {
        let header = self.header("Subject", message, bytes)?;
        let field = fields(header).find(|field| field.is("Subject"));
        Ok(field.map(|field| subject::base(&decoded(field.value))).unwrap_or_default())
    }

    /// RFC 5256 §2.2: INTERNALDATE where there is no Date that makes sense. Unix seconds.
    fn sent_or_received(&self, message: &Message, bytes: &mut Bytes) -> Result<i64, Refused> {
        let sent = self.sent(message, bytes)?;
        Ok(sent.map_or(message.internal_date, |date| date.to_timestamp()))
    }
}
