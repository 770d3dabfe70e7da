//! Opening, writing, closing: the one concrete store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use redb::{
    Database, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata as _, TableDefinition,
    Value,
};

use crate::account::Remembered;
use crate::blob::Registry;
use crate::disk::{Backend, Disk, Lock, Trouble, Watch};
pub use crate::error::{Class, OpenError, StoreError};
use crate::feed::Feed;
use crate::journal::{self, Journal, TurnKey};
use crate::reserve;
use crate::schema::{self, meta};
use crate::secret::Keyring;
pub use crate::writer::Transaction;
use crate::writer::{self, InStep, Jobs};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// redb's page cache in bytes.
    pub cache_bytes: usize,
    /// The passphrase that unlocks wrapped keys; `None` where the home has none.
    pub passphrase: Option<zeroize::Zeroizing<Vec<u8>>>,
}

/// The store of one home: cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// Owns the writer and its thread: when the last clone goes, the store closes.
struct Handle {
    core: Arc<Core>,
    jobs: Mutex<Option<Jobs>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer share.
pub(crate) struct Core {
    pub(crate) disk: Disk,
    pub(crate) feed: Feed,
    pub(crate) staged: Registry,
    /// Numbers the files in `staging/`; they begin anew with every start, since leftovers are removed then.
    pub(crate) next_staging: AtomicU64,
    options: Options,
    /// The database file's name.
    file: &'static str,
    /// `None` when closed, or while it could not be opened anew after trouble. Readers hold it shared while they read: opening
    /// anew waits for them, so that no reader follows pages that the new writer takes for free.
    opened: RwLock<Option<Opened>>,
    /// What is durable and not in the file yet. Locked after `opened`.
    journal: Mutex<Journal>,
    closed: AtomicBool,
    /// Why the handle is dead; set once.
    broken: OnceLock<String>,
    lock: Mutex<Option<Lock>>,
    /// What secret rows are sealed under.
    keyring: Mutex<Keyring>,
    /// Recent logins.
    pub(crate) remembered: Remembered,
}

struct Opened {
    /// `None` only while being dropped.
    database: Option<Database>,
    watch: Watch,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Closing writes, and may meet damaged pages like any other use.
        let database = self.database.take();
        let closed = guarded(move || {
            drop(database);
            Ok(())
        });
        if closed.is_err() {
            tracing::error!("the database could not be closed properly; run `kith verify`");
        }
    }
}

/// The open database, held against being opened anew.
pub(crate) struct Held<'a> {
    guard: RwLockReadGuard<'a, Option<Opened>>,
}

impl Held<'_> {
    pub(crate) fn database(&self) -> Result<&Database, StoreError> {
        self.guard.as_ref().ok_or_else(closed)?.database()
    }

    /// Reads the last commit.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        guarded(|| work(&Reader { transaction: self.database()?.begin_read()? }))
    }

    /// The worst that happened to the file.
    pub(crate) fn trouble(&self) -> Trouble {
        self.guard.as_ref().map_or(Trouble::None, |opened| opened.watch.trouble())
    }
}

/// A view of the last commit.
pub(crate) struct Reader {
    transaction: ReadTransaction,
}

impl Reader {
    /// Opens a table for reading.
    pub(crate) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        Ok(self.transaction.open_table(definition)?)
    }
}

impl Store {
    /// Opens the home's store, making it (0700, files 0600) where there is none. Milliseconds, also after a crash.
    ///
    /// # Errors
    /// [`OpenError`]; its text says what to do.
    pub fn open(home: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_on(Disk::real(home), options)
    }

    /// [`Store::open`] on any disk: the file system's, or a simulated one.
    ///
    /// # Errors
    /// [`OpenError`]; its text says what to do.
    pub fn open_on(disk: Disk, options: Options) -> Result<Self, OpenError> {
        let lock = lock_and_create(&disk, options.cache_bytes)?;
        Self::open_file(disk, options, lock, schema::DATABASE)
    }

    /// [`Store::open_on`] without a thread: a write and all that follows it are done by whoever asks, before the call returns. What happens on the disk
    /// is then the same in every run, as a simulation needs it; nothing is gathered into one commit, and nothing written because time has passed.
    ///
    /// # Errors
    /// [`OpenError`]; its text says what to do.
    pub fn open_in_step(disk: Disk, options: Options) -> Result<Self, OpenError> {
        let lock = lock_and_create(&disk, options.cache_bytes)?;
        let core = Arc::new(Core::open(disk, options, lock, schema::DATABASE)?);
        let jobs = Jobs::Asker(Arc::new(InStep::new(Arc::clone(&core))));
        Ok(Self { handle: Arc::new(Handle { core, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(None) }) })
    }

    /// Opens a database file of the home that there is, under a lock that is held.
    pub(crate) fn open_file(disk: Disk, options: Options, lock: Lock, database: &'static str) -> Result<Self, OpenError> {
        let core = Arc::new(Core::open(disk, options, lock, database)?);
        let (jobs, thread) = writer::start(Arc::clone(&core)).map_err(|error| of_io(&core.disk, &error))?;
        let handle = Handle { core, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// For what outlives a call without keeping the writer alive.
    pub(crate) fn core_shared(&self) -> Arc<Core> {
        Arc::clone(&self.handle.core)
    }

    pub(crate) fn core(&self) -> &Core {
        &self.handle.core
    }

    /// Runs `work` on the writer thread, together with whatever else waits there, and returns when it is durable.
    /// An error from `work` leaves nothing of it behind and does not disturb the others in the group.
    /// `work` may be run more than once; only the last run counts. It must not call the store, only its transaction.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::DiskFull`], [`StoreError::Broken`] or [`StoreError::Damaged`] from below.
    pub fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let jobs = self.handle.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        writer::submit(&jobs, work)
    }

    /// As [`Store::write`], without waiting: what becomes of it nobody is told. Where too much waits already it is not done.
    pub(crate) fn write_later(&self, work: impl FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static) {
        let jobs = self.handle.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(jobs) = jobs {
            writer::submit_later(&jobs, work);
        }
    }

    /// Reads the last commit. Damage that makes the database library give up comes out as [`StoreError::Damaged`].
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.core().read(work)
    }

    /// The home's folder.
    pub fn home(&self) -> &Path {
        self.core().disk.home()
    }

    /// Space on the disk that new mail may still take, bytes: what is free, less what is kept back so that reading and removing go on.
    ///
    /// # Errors
    /// [`StoreError`] where the file system does not tell.
    pub fn room(&self) -> Result<u64, StoreError> {
        reserve::room(&self.core().disk).map_err(|error| StoreError::of_io(&error))
    }

    /// Where envelopes in transit lie: `<home>/spool`. Not part of any promise: what is lost there is sealed or fetched again.
    pub fn spool(&self) -> PathBuf {
        self.home().join(schema::SPOOL_DIR)
    }

    /// Finishes what is in flight and closes; later calls fail with `Broken`.
    pub fn close(&self) {
        self.handle.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.home().display())
    }
}

impl Handle {
    fn close(&self) {
        // Without a sender the writer's thread finishes what is queued and ends.
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        match jobs {
            Some(Jobs::Asker(in_step)) => in_step.end(),
            jobs => drop(jobs),
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
        self.core.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    fn open(disk: Disk, options: Options, lock: Lock, file: &'static str) -> Result<Self, OpenError> {
        for folder in [schema::BLOBS_DIR, schema::STAGING_DIR, schema::SPOOL_DIR] {
            disk.make_dir(folder).map_err(|error| of_io(&disk, &error))?;
        }
        for left in disk.list(schema::STAGING_DIR).map_err(|error| of_io(&disk, &error))? {
            disk.remove(&format!("{}/{left}", schema::STAGING_DIR)).map_err(|error| of_io(&disk, &error))?;
        }
        let mut opened = Opened::open(&disk, file, options.cache_bytes).map_err(|error| of_store(&disk, error))?;
        let format = guarded(|| opened.format()).map_err(|error| of_store(&disk, error))?;
        let upgrading = crate::migrate::check(disk.home(), format)?;
        let journal = || match file {
            schema::DATABASE => guarded(|| opened.journal(&disk)),
            _ => Journal::none(),
        };
        let mut held = journal().map_err(|error| of_store(&disk, error))?;
        if upgrading {
            let upgraded = guarded(|| crate::migrate::upgrade(opened.database()?));
            held = upgraded.and_then(|()| journal()).map_err(|error| of_store(&disk, error))?;
        }
        if held.holds() {
            match guarded(|| opened.replay(&held)) {
                Ok(()) if opened.watch.trouble() == Trouble::None && !reserve::is_needed(&disk) => {}
                Err(error @ StoreError::Damaged(_)) => return Err(of_store(&disk, error)),
                _ => {
                    drop(opened);
                    let again = Opened::with(&disk, file, options.cache_bytes, &mut held);
                    opened = again.map_err(|error| of_store(&disk, error))?;
                }
            }
        }
        let fresh = guarded(|| opened.has_no_secrets()).map_err(|error| of_store(&disk, error))?;
        let passphrase = options.passphrase.as_ref().map(|passphrase| passphrase.as_slice());
        let keyring = Keyring::open(&disk, passphrase, fresh)?;
        let remembered = Remembered::new().map_err(|error| of_store(&disk, error))?;
        Ok(Self {
            disk,
            feed: Feed::default(),
            staged: Registry::default(),
            next_staging: AtomicU64::new(0),
            options,
            file,
            opened: RwLock::new(Some(opened)),
            journal: Mutex::new(held),
            closed: AtomicBool::new(false),
            broken: OnceLock::new(),
            lock: Mutex::new(Some(lock)),
            keyring: Mutex::new(keyring),
            remembered,
        })
    }

    /// The open database; opened anew where trouble asks for it.
    pub(crate) fn hold(&self) -> Result<Held<'_>, StoreError> {
        for _ in 0..2 {
            if let Some(why) = self.broken.get() {
                return Err(StoreError::Broken(why.clone()));
            }
            let guard = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            match guard.as_ref().map(|opened| opened.watch.trouble()) {
                Some(Trouble::None) => return Ok(Held { guard }),
                Some(Trouble::Fatal) => return Err(self.fail("a write to the disk failed")),
                Some(Trouble::Read | Trouble::Full) | None => {}
            }
            drop(guard);
            self.open_anew()?;
        }
        Err(StoreError::Broken("the database cannot be read".to_owned()))
    }

    fn open_anew(&self) -> Result<(), StoreError> {
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        if slot.as_ref().is_some_and(|opened| opened.watch.trouble() == Trouble::None) {
            return Ok(());
        }
        drop(slot.take());
        let mut journal = self.journal();
        *slot = Some(Opened::with(&self.disk, self.file, self.options.cache_bytes, &mut journal)?);
        drop(journal);
        tracing::warn!("the database was opened anew after trouble with the disk");
        Ok(())
    }

    /// Declares the handle dead, once and for all.
    pub(crate) fn fail(&self, why: &str) -> StoreError {
        if self.broken.set(why.to_owned()).is_ok() {
            tracing::error!(error = why, "the store failed; restart the node");
        }
        StoreError::Broken(why.to_owned())
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.hold()?.read(work)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.opened.write().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The journal.
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The day keys.
    pub(crate) fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn open(disk: &Disk, name: &str, cache_bytes: usize) -> Result<Self, StoreError> {
        let file = disk.open(name).map_err(|error| StoreError::of_io(&error))?;
        if file.len().map_err(|error| StoreError::of_io(&error))? == 0 {
            return Err(StoreError::damaged("the database file is empty"));
        }
        let watch = Watch::default();
        let backend = Backend::new(file, watch.clone());
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        // Every commit records what an opening after a crash needs; that this is missing tells of damage or of another program.
        builder.set_repair_callback(|_| tracing::warn!("the database has to be read through before it can be used"));
        let database = guarded(|| Ok(builder.create_with_backend(backend)?))?;
        Ok(Self { database: Some(database), watch })
    }

    /// The database with what the journal holds. Where there is no space for that, what was set aside is given up, and the database takes
    /// everything in for good.
    fn with(disk: &Disk, name: &str, cache_bytes: usize, journal: &mut Journal) -> Result<Self, StoreError> {
        let open = |journal: &mut Journal, for_good: bool| {
            let opened = Self::open(disk, name, cache_bytes)?;
            if journal.holds() {
                journal.follow(guarded(|| opened.turn_key())?);
                guarded(|| opened.replay(journal))?;
                if for_good {
                    guarded(|| journal::turn(opened.database()?.begin_write()?, journal))?;
                }
            }
            match opened.watch.trouble() {
                Trouble::None => Ok(opened),
                Trouble::Full => Err(StoreError::DiskFull),
                Trouble::Read | Trouble::Fatal => {
                    Err(StoreError::Broken("the disk failed while the database was opened".to_owned()))
                }
            }
        };
        if !reserve::is_needed(disk) || !journal.holds() {
            match open(journal, false) {
                Ok(opened) => return Ok(opened),
                Err(error @ StoreError::Damaged(_)) => return Err(error),
                Err(error) if !journal.holds() => return Err(error),
                Err(_) => {}
            }
        }
        let _ = reserve::give_up(disk);
        // In memory at least, where even that is not enough.
        open(journal, true).or_else(|_| open(journal, false))
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or_else(closed)
    }

    /// The key under which records of the journal count.
    fn turn_key(&self) -> Result<Option<TurnKey>, StoreError> {
        TurnKey::read(&self.database()?.begin_read()?.open_table(schema::META)?)
    }

    /// The journal of the home. What it holds since the last start is not in the database yet.
    fn journal(&self, disk: &Disk) -> Result<Journal, StoreError> {
        let Some(key) = self.turn_key()? else { return Journal::none() };
        Journal::open(disk, key)
    }

    /// Puts what the journal holds back in, in memory.
    fn replay(&self, journal: &Journal) -> Result<(), StoreError> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::None).map_err(|error| StoreError::Broken(error.to_string()))?;
        journal.replay(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn has_no_secrets(&self) -> Result<bool, StoreError> {
        Ok(self.database()?.begin_read()?.open_table(schema::SECRETS)?.is_empty()?)
    }

    fn format(&self) -> Result<u64, StoreError> {
        let table = self.database()?.begin_read()?.open_table(schema::META)?;
        let format = table.get(meta::FORMAT)?.ok_or_else(|| StoreError::damaged("the format number is missing"))?;
        Ok(format.value())
    }
}

/// Locks the home, and makes the database where there is none.
fn lock_and_create(disk: &Disk, cache_bytes: usize) -> Result<Lock, OpenError> {
    let lock = lock(disk)?;
    if !disk.exists(schema::DATABASE).map_err(|error| of_io(disk, &error))? {
        create(disk, cache_bytes, schema::DATABASE).map_err(|error| of_store(disk, error))?;
    }
    Ok(lock)
}

/// Takes the lock of a home, making the home where there is none.
pub(crate) fn lock(disk: &Disk) -> Result<Lock, OpenError> {
    disk.make_dir("").map_err(|error| of_io(disk, &error))?;
    let lock = disk.lock().map_err(|error| of_io(disk, &error))?;
    lock.ok_or_else(|| OpenError::Busy { home: disk.home().to_path_buf() })
}

/// Makes an empty database, under another name first: a crash in the middle leaves nothing that looks like a store.
pub(crate) fn create(disk: &Disk, cache_bytes: usize, name: &str) -> Result<(), StoreError> {
    let io = |error: std::io::Error| StoreError::of_io(&error);
    let file = disk.create(schema::DATABASE_NEW).map_err(io)?;
    let backend = Backend::new(file, Watch::default());
    let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?;
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    schema::create_all(&transaction)?;
    transaction.open_table(schema::META)?.insert(meta::FORMAT, schema::FORMAT)?;
    TurnKey::renew(&transaction)?;
    transaction.commit()?;
    drop(database);
    disk.rename(schema::DATABASE_NEW, name).map_err(io)?;
    disk.sync_dir("").map_err(io)
}

/// Runs what reads pages that may be damaged: the database library asserts in places where bytes lie.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::damaged("a page of the database is not what was written")))
}

fn closed() -> StoreError {
    StoreError::Broken("it is closed".to_owned())
}

pub(crate) fn of_store(disk: &Disk, error: StoreError) -> OpenError {
    let home = disk.home().to_path_buf();
    match error {
        StoreError::Damaged(what) => OpenError::Damaged { home, what },
        other => OpenError::Io { home, error: other.to_string() },
    }
}

pub(crate) fn of_io(disk: &Disk, error: &std::io::Error) -> OpenError {
    OpenError::Io { home: disk.home().to_path_buf(), error: error.to_string() }
}
