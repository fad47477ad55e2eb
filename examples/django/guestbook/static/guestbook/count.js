const text = document.querySelector("input[name=text]");
const left = document.querySelector("#left");
if (text) {
  text.addEventListener("input", () => {
    left.textContent = `${text.maxLength - text.value.length} left`;
  });
}
