// Pictures for a question: read, made small enough for a model, and shown.

const LARGEST = 1568; // pixels of the longer side: models look at no more
const AS_IT_IS = 1_500_000; // bytes

/** Base64 and media type of a picture file. Throws an Error in words. */
export async function picture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no picture that this browser can read.`);
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const isFine = scale === 1 && file.size <= AS_IT_IS && ["image/png", "image/jpeg"].includes(file.type);
  const url = isFine ? await read(file) : drawn(bitmap, scale, file.type === "image/jpeg" ? "image/jpeg" : "image/png");
  bitmap.close();
  const [head, data] = url.split(",", 2);
  return { name: file.name || "pasted picture", type: head.slice(5, head.indexOf(";")), data };
}

export const source = (image) => `data:${image.type};base64,${image.data}`;

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} could not be read.`));
    reader.readAsDataURL(file);
  });
}

function drawn(bitmap, scale, type) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL(type, 0.9);
}
