//! Thunderbird itself, without a screen, with a profile made of prefs: it sends, fetches by IMAP and POP3, flags and moves, and hears what others
//! do. Driven over Marionette, its own remote control. Skipped with a word where it is not installed.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::{Imap, base64, body, header, mail, send};
use crate::node::{Node, PATIENCE, eventually};
use crate::programs::installed;

/// What every script begins with; `BODY` is what it does.
const SCRIPT: &str = r#"
const done = arguments[arguments.length - 1];
(async () => {
  const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
  const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
  const server = key => MailServices.accounts.getIncomingServer(key);
  const until = async (what, test) => {
    for (let i = 0; i < 900; i++) {
      const got = await test();
      if (got) return got;
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error("waited in vain: " + what);
  };
  const find = (folder, subject) => [...folder.messages].find(message => message.mime2DecodedSubject.includes(subject));
  const inbox = () => server("server1").rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  BODY
})().then(done, error => done("ERROR " + error));
"#;

const LOG_IN: &str = r#"
  for (const scheme of ["imap", "mailbox", "smtp"]) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(scheme + "://127.0.0.1", null, scheme + "://127.0.0.1", "anna", "secret", "", "");
    await Services.logins.addLoginAsync(login);
  }
"#;

const SEND: &str = r#"
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.from = "Anna <anna@kith.alt>";
  fields.to = "bob@kith.alt, anna@kith.alt";
  fields.subject = "by Thunderbird, grüße";
  server("server1").performExpand(null);
  await until("the inbox", inbox);
  inbox().updateFolder(null);
  const copies = await until("the folder for copies", () => server("server1").rootFolder.descendants.find(folder => folder.name == "Sent"));
  fields.fcc = copies.URI;
  const sending = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
  return await new Promise(resolve => {
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]),
      onStartSending() {}, onProgress() {}, onSendProgress() {}, onStatus() {}, onGetDraftFolderURI() {},
      onStopSending(id, status) { resolve("sent " + status); },
      onSendNotPerformed() { resolve("not sent"); },
      onTransportSecurityError(id, status) { resolve("security " + status); },
    };
    sending.createAndSendMessage(
      null, MailServices.accounts.getIdentity("id1"), "account1", fields, false, false, Ci.nsIMsgCompDeliverMode.Now,
      null, "text/plain", "from Thunderbird\r\n.\r\nend\r\n", null, null, listener, null, "", Ci.nsIMsgCompType.New);
  });
"#;

const FLAG_AND_MOVE: &str = r#"
  await until("the inbox", inbox);
  const found = await until("the mail", () => { inbox().updateFolder(null); return find(inbox(), "by Thunderbird"); });
  inbox().markMessagesRead([found], true);
  inbox().markMessagesFlagged([found], true);
  inbox().addKeywordsToMessages([found], "$label1");
  const archive = await until("the archive", () => server("server1").rootFolder.descendants.find(folder => folder.name.startsWith("Archive")));
  const moved = await new Promise(resolve => MailServices.copy.copyMessages(inbox(), [found], archive, true, {
    QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
    onStopCopy(status) { resolve(status); },
  }, null, false));
  const folders = server("server1").rootFolder.descendants.map(folder => folder.name).sort().join(" ");
  return "moved " + moved + ": " + folders;
"#;

/// By IDLE alone: nothing asks.
const HEAR: &str = r#"
  const found = await until("the mail that was sent elsewhere", () => find(inbox(), "from elsewhere"));
  await until("the flag that was set elsewhere", () => found.isFlagged);
  return "heard";
"#;

const FETCH: &str = r#"
  const pop = server("server2");
  const local = pop.rootMsgFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox) || pop.rootFolder.getChildNamed("Inbox");
  const fetch = () => new Promise(resolve => MailServices.pop3.GetNewMail(null, {
    QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
    OnStartRunningUrl() {},
    OnStopRunningUrl(url, status) { resolve(status); },
  }, local, pop));
  // Twice: what is there stays there, and is not fetched again.
  const statuses = [await fetch(), await fetch()];
  return statuses.join() + " " + [...local.messages].map(message => message.mime2DecodedSubject).join();
"#;

/// Its own reader of `config-v1.1.xml`.
const READ_CONFIG: &str = r#"
  const { readFromXML } = ChromeUtils.importESModule("resource:///modules/accountcreation/readFromXML.sys.mjs");
  const { JXON } = ChromeUtils.importESModule("resource:///modules/JXON.sys.mjs");
  const config = readFromXML(JXON.build(new DOMParser().parseFromString(CONFIG, "text/xml")), "isp");
  const said = server => [server.type, server.hostname, server.port, server.socketType, server.auth, server.username].join(" ");
  return [config.incoming, ...config.incomingAlternatives, config.outgoing, ...config.outgoingAlternatives].map(said).join("\n");
"#;

struct Thunderbird {
    child: Child,
    stream: BufReader<TcpStream>,
    number: u64,
    _profile: TempDir,
}

impl Drop for Thunderbird {
    fn drop(&mut self) {
        // The test is over; whether it ended by itself does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prefs(node: &Node) -> Value {
    let port = |name: &str| node.port(name).rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let mut prefs = json!({
        "mail.accountmanager.accounts": "account1,account2,account3",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server3",
        "mail.account.account1.server": "server1", "mail.account.account1.identities": "id1",
        "mail.account.account2.server": "server2", "mail.account.account2.identities": "id1",
        "mail.account.account3.server": "server3",
        "mail.identity.id1.useremail": "anna@kith.alt", "mail.identity.id1.fullName": "Anna",
        "mail.identity.id1.smtpServer": "smtp1", "mail.identity.id1.valid": true,
        "mail.server.server3.type": "none", "mail.server.server3.hostname": "Local Folders",
        "mail.server.server3.userName": "nobody", "mail.server.server3.name": "Local Folders",
        "mail.smtpservers": "smtp1", "mail.smtp.defaultserver": "smtp1",
        "mail.smtpserver.smtp1.type": "smtp", "mail.smtpserver.smtp1.hostname": "127.0.0.1",
        "mail.smtpserver.smtp1.port": port("smtp"), "mail.smtpserver.smtp1.username": "anna",
        "mail.smtpserver.smtp1.authMethod": 3, "mail.smtpserver.smtp1.try_ssl": 0,
        "mail.server.server2.leave_on_server": true,
        // Nothing that is not asked for, and nothing that leaves the machine.
        "mail.provider.suppress_dialog_on_startup": true, "mail.rights.version": 1, "mailnews.start_page.enabled": false,
        "mail.shell.checkDefaultClient": false, "mail.spam.version": 1, "mail.biff.show_alert": false, "mail.biff.play_sound": false,
        "app.update.enabled": false, "datareporting.policy.dataSubmissionEnabled": false, "toolkit.telemetry.enabled": false,
        "network.connectivity-service.enabled": false, "network.captive-portal-service.enabled": false,
        "marionette.port": 0,
    });
    for (server, kind) in [("server1", "imap"), ("server2", "pop3")] {
        let key = |name: &str| format!("mail.server.{server}.{name}");
        let fields = prefs.as_object_mut().unwrap();
        fields.insert(key("type"), json!(kind));
        fields.insert(key("hostname"), json!("127.0.0.1"));
        fields.insert(key("port"), json!(port(kind)));
        fields.insert(key("userName"), json!("anna"));
        fields.insert(key("socketType"), json!(0));
        fields.insert(key("authMethod"), json!(3));
        fields.insert(key("name"), json!(server));
        fields.insert(key("check_new_mail"), json!(false));
        fields.insert(key("login_at_startup"), json!(false));
    }
    prefs
}

impl Thunderbird {
    fn start(node: &Node) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let lines: String =
            prefs(node).as_object().unwrap().iter().map(|(key, value)| format!("user_pref({key:?}, {value});\n")).collect();
        fs::write(profile.path().join("user.js"), lines).unwrap();
        let child = Command::new("thunderbird")
            .args(["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile"])
            .arg(profile.path())
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port: u16 = eventually("Thunderbird starts", || {
            fs::read_to_string(profile.path().join("MarionetteActivePort")).ok()?.trim().parse().ok()
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        let mut thunderbird = Self { child, stream: BufReader::new(stream), number: 0, _profile: profile };
        assert_eq!(thunderbird.hear()["applicationType"], "gecko");
        thunderbird.ask("WebDriver:NewSession", &json!({ "capabilities": {} }));
        thunderbird.ask("Marionette:SetContext", &json!({ "value": "chrome" }));
        thunderbird.ask("WebDriver:SetTimeouts", &json!({ "script": 100_000 }));
        thunderbird
    }

    /// A message: its length, a colon, JSON.
    fn hear(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            match byte[0] {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn ask(&mut self, command: &str, parameters: &Value) -> Value {
        self.number += 1;
        let text = json!([0, self.number, command, parameters]).to_string();
        self.stream.get_mut().write_all(format!("{}:{text}", text.len()).as_bytes()).unwrap();
        let answer = self.hear();
        assert!(answer[2].is_null(), "{command}: {}", answer[2]);
        answer[3].clone()
    }

    /// Runs a script; what it returns.
    fn run(&mut self, body: &str) -> String {
        let script = json!({ "script": SCRIPT.replace("BODY", body), "args": [], "newSandbox": true });
        let answer = self.ask("WebDriver:ExecuteAsyncScript", &script)["value"].as_str().unwrap_or_default().to_owned();
        assert!(!answer.starts_with("ERROR"), "{answer}");
        answer
    }
}

/// The flags of each mail in a folder.
fn flags(node: &Node, folder: &str) -> Vec<String> {
    let mut imap = Imap::login(node, "anna");
    if imap.select(folder) == 0 {
        return Vec::new();
    }
    imap.ok("FETCH 1:* (FLAGS)").into_iter().map(|answer| String::from_utf8(answer).unwrap()).collect()
}

#[test]
fn thunderbird_sends_fetches_flags_moves_and_hears() {
    if !installed("thunderbird") {
        return;
    }
    let node = Node::started(&["anna", "bob"]);
    let mut thunderbird = Thunderbird::start(&node);
    // What sets it up by itself says the same as these prefs.
    let config = node.ask(&["settings", "anna", "--thunderbird", "-"]);
    let understood = thunderbird.run(&READ_CONFIG.replace("CONFIG", &serde_json::to_string(&config).unwrap()));
    let port = |name: &str| node.port(name).rsplit_once(':').unwrap().1.to_owned();
    let servers = [("imap", "imap"), ("pop3", "pop3"), ("smtp", "smtp")];
    let wanted = servers.map(|(kind, name)| format!("{kind} 127.0.0.1 {} 0 3 %EMAILADDRESS%", port(name)));
    assert_eq!(understood.lines().collect::<Vec<_>>(), wanted);
    thunderbird.run(LOG_IN);
    assert_eq!(thunderbird.run(SEND), "sent 0");
    let arrived = crate::clients::inbox(&node, "bob", 1).remove(0);
    assert_eq!(header(&arrived, "Subject"), format!("=?UTF-8?B?{}?=", base64("by Thunderbird, grüße".as_bytes())));
    assert_eq!(body(&arrived), b"from Thunderbird\r\n.\r\nend\r\n");
    eventually("its copy in Sent", || (flags(&node, "Sent").len() == 1).then_some(()));

    assert_eq!(thunderbird.run(FLAG_AND_MOVE), "moved 0: Archive Drafts INBOX Junk Sent Trash");
    let archived = eventually("the move, and the flags", || {
        let archived = flags(&node, "Archive");
        (archived.len() == 1 && archived[0].contains("$label1")).then_some(archived)
    });
    assert!(archived[0].contains("\\Seen") && archived[0].contains("\\Flagged"), "{archived:?}");
    assert_eq!(flags(&node, "INBOX").len(), 0);

    send(&node, "bob", &["anna@kith.alt"], &mail("bob", "from elsewhere", b"x\r\n"));
    eventually("it is filed", || (flags(&node, "INBOX").len() == 1).then_some(()));
    let mut imap = Imap::login(&node, "anna");
    imap.select("INBOX");
    imap.ok("STORE 1 +FLAGS (\\Flagged)");
    assert_eq!(thunderbird.run(HEAR), "heard");
    assert_eq!(thunderbird.run(FETCH), "0,0 from elsewhere");
}
