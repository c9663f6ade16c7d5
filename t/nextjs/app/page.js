import Link from 'next/link';
import { draftMode } from 'next/headers';

export const revalidate = 60;

export default function Home() {
  return (
    <main>
      <p>{draftMode().isEnabled ? 'a draft' : 'the home page'}</p>
      <Link href="/about">about</Link>
    </main>
  );
}
