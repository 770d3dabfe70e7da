//! Ordinary e-mail, in and out: the only place that knows MX, SPF, DKIM and DMARC.
