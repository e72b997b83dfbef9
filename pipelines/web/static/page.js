// Thumbs without a new page. Without this script they work too, by a new page.
"use strict";
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(".thumbs")) return;
  event.preventDefault();
  judge(form, event.submitter);
});

async function judge(form, pressed) {
  const fields = new URLSearchParams(new FormData(form));
  fields.set("grade", pressed.value);
  fields.set("view", "");
  const answer = await fetch("/judge", { method: "POST", body: fields }).catch(() => null);
  if (!answer?.ok) return say("The judgement was not kept; try again.");
  const given = pressed.value;
  for (const button of form.querySelectorAll("button")) {
    const isPressed = button.dataset.grade === given;
    button.setAttribute("aria-pressed", String(isPressed));
    button.value = isPressed ? "none" : button.dataset.grade;
  }
  say(given === "none" ? "Taken back." : "Kept.");
}

let told;
function say(sentence) {
  const place = document.querySelector("#said");
  place.textContent = sentence;
  clearTimeout(told);
  told = setTimeout(() => { place.textContent = ""; }, 5000); // it covers what is below it
}
