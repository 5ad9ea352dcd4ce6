// Certificates, CAs and revocation lists, those that end first in front.

import { byId, reconcile, row, setBadge, setText, table } from "./dom.js";

const SOON_DAYS = 14;
const NEAR_DAYS = 30;
const ROWS_MAX = 300;

function kind(days) {
  if (days < SOON_DAYS) return "bad";
  return days < NEAR_DAYS ? "warn" : "ok";
}

function left(seconds) {
  const days = Math.floor(seconds / 86400);
  if (seconds <= 0) return "ended";
  if (days >= 3650) return `${Math.floor(days / 365)} years`;
  if (days >= 1) return days === 1 ? "1 day" : `${days} days`;
  return `${Math.max(1, Math.floor(seconds / 3600))} h`;
}

const minutes = (at) => at.replace("T", " ").replace(/:\d\d(\.\d+)?Z$/, " UTC");

const COLUMNS = [
  { title: "Left", head: false, render: (cell, of) => setBadge(cell, of.badge ?? left(of.seconds), of.kind ?? kind(of.seconds / 86400)) },
  { title: "What", cell: (of) => of.what },
  { title: "Name", cell: (of) => of.name, kind: "break" },
  { title: "For", cell: (of) => of.names, kind: "wide" },
  { title: "Ends", cell: (of) => minutes(of.ends) },
];

// A certificate that an issuer has not issued yet, or could not renew: it comes first.
function awaited(of) {
  const isServed = of.state === "served";
  const next = of.next_order ? `; next order ${minutes(of.next_order)}` : "";
  return {
    key: `managed ${of.file}`,
    what: `kept by ${of.issuer}`,
    name: of.names.join(", "),
    names: `${of.last_error ?? "not issued yet"}${next}`,
    badge: isServed ? "order failed" : "not issued",
    kind: isServed ? "warn" : "bad",
    seconds: -Infinity,
    ends: of.not_after ?? "",
  };
}

// A revocation list or an OCSP response that could not be fetched.
function unfetched(of) {
  return {
    key: `fetched ${of.file}`,
    what: of.kind === "crl" ? "revocation list" : "OCSP response",
    name: of.url,
    names: of.last_error,
    badge: "fetch failed",
    kind: "warn",
    seconds: -Infinity,
    ends: of.next_fetch ?? "",
  };
}

function all(answer) {
  const list = [];
  const add = (what, name, names, of, ends = of.not_after) =>
    list.push({ key: `${what} ${name} ${of.file ?? ""} ${of.subject ?? ""}`, what, name, names, seconds: of.seconds_left, ends: ends ?? "" });
  const names = (of) => [...(of.names ?? []), ...(of.addresses ?? [])].join(", ");
  for (const of of answer.certificates ?? []) add(`served by ${of.endpoint}`, of.name, names(of), of);
  for (const of of answer.client_certificates ?? []) add(`shown to ${of.upstream}`, of.name, of.subject, of);
  for (const of of answer.admin_certificates ?? []) add("this listener", of.name, names(of), of);
  for (const of of answer.authorities ?? []) add("CA", of.subject, of.file, of);
  for (const of of answer.revocation_lists ?? []) add("revocation list", of.issuer, of.file, of, of.next_update);
  for (const of of answer.fetched ?? []) if (of.last_error) list.push(unfetched(of));
  for (const of of answer.managed ?? []) if (of.state !== "served" || of.last_error) list.push(awaited(of));
  return list.sort((a, b) => a.seconds < b.seconds ? -1 : Number(a.seconds > b.seconds));
}

export function certificates() {
  const shown = table("Certificates, CAs and revocation lists", COLUMNS);
  byId("certificates-table").append(shown);
  return (answer) => {
    const list = all(answer);
    reconcile(shown.body, list.slice(0, ROWS_MAX), (of) => of.key, (of) => row(COLUMNS, of));
    const caption = "Certificates, CAs and revocation lists";
    setText(shown.caption, list.length > ROWS_MAX ? `${caption}: the first ${ROWS_MAX} of ${list.length} that end` : caption);
  };
}
