import { cookies } from 'next/headers';

export default function Mine() {
  return <p>for {cookies().get('name')?.value ?? 'nobody'}</p>;
}
