const form = document.getElementById("login");
const said = document.getElementById("said");

const asked = await fetch("/api/login");
form.hidden = !(await asked.json()).has_password;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  const answer = await fetch("/api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ password: document.getElementById("password").value }),
  });
  if (answer.ok) location.href = "/";
  else said.textContent = (await answer.json()).error.message;
});
