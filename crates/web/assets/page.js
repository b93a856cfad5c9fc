// Friendlier with it, whole without it: times in the viewer's zone, parts that stay fresh, live dialogues.
// What comes from mail is only ever set as text.
"use strict";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.title = time.dateTime;
      time.textContent = at.toLocaleString();
    }
  }
  for (const label of root.querySelectorAll("text[data-time]")) {
    label.textContent = clock.format(new Date(label.dataset.time));
  }
}

// <div data-refresh="/part" data-every="10">: the server renders the part anew.
function refresh(part) {
  setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    try {
      const answer = await fetch(part.dataset.refresh, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      localTimes(fresh);
      part.replaceChildren(...fresh.body.childNodes);
    } catch { /* The gateway restarts, or the session ended: the next round tells. */ }
  }, 1000 * Number(part.dataset.every));
}

// <div data-feed="/live/feed?text=..">: one box a dialogue, the newest on top.
function feed(place) {
  const boxes = new Map();
  const source = new EventSource(place.dataset.feed);
  const state = document.getElementById("feed-state");
  source.onopen = () => { state.textContent = "Watching: dialogues appear as they happen."; };
  source.onerror = () => { state.textContent = "Not connected; trying again."; };
  source.onmessage = (message) => {
    const line = JSON.parse(message.data);
    let box = boxes.get(line.session + line.peer);
    if (!box) {
      const section = document.createElement("section");
      const title = section.appendChild(document.createElement("h3"));
      const link = title.appendChild(document.createElement("a"));
      link.href = "/messages?text=" + encodeURIComponent(line.session);
      link.textContent = line.session;
      title.append(" " + line.peer);
      box = section.appendChild(document.createElement("pre"));
      boxes.set(line.session + line.peer, box);
      place.prepend(section);
      if (boxes.size > 40) {
        const [oldest, gone] = boxes.entries().next().value;
        gone.parentElement.remove();
        boxes.delete(oldest);
      }
    }
    if (box.childNodes.length > 400) box.firstChild.remove();
    box.append(`${clock.format(new Date(line.at))} ${line.mark} ${line.text}\n`);
  };
  addEventListener("pagehide", () => source.close());
}

// <form data-busy="Looking ..">: what takes a while says so, and is not sent twice.
function busy(form) {
  form.addEventListener("submit", () => {
    const note = form.appendChild(document.createElement("p"));
    note.setAttribute("role", "status");
    note.textContent = form.dataset.busy;
    setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
  });
}

localTimes(document);
document.querySelectorAll("form[data-busy]").forEach(busy);
document.querySelectorAll("[data-refresh]").forEach(refresh);
document.querySelectorAll("[data-feed]").forEach(feed);
