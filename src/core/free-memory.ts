/**
 * Gives back the memory of these bytes, and of all that shares it: nobody may read them any more, nor may a
 * write of them be under way.
 *
 * Large bytes that pass through at speed are garbage beside a small heap. Left to the collector, it went through
 * the heap for every few of them, and each one came from memory that the system had to clear first.
 */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  // A small part of something larger (Node's pool of buffers) is not ours alone.
  const isOwn = byteLength * 2 > buffer.byteLength;
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
