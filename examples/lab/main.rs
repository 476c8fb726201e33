//! lab
mod trial;
fn main() {
    let args: Vec<u64> = std::env::args()
        .skip(1)
        .map(|a| a.parse().unwrap())
        .collect();
    let t = std::time::SystemTime::now();
    let mut fails = 0;
    let mut hours = 0.0;
    let mut probes = 0;
    let mut nv = 0;
    let mut n = 0;
    for seed in args[0]..args[1] {
        let plan = trial::Plan::of(seed).unwrap();
        match trial::run(&plan) {
            Ok((o, _)) => {
                hours += o.connection_micros as f64 / 3.6e9;
                probes += o.probes;
                nv += o.network_verdicts;
                n += o.delays.len();
            }
            Err(f) => {
                fails += 1;
                println!("{}\n  {}\n", f.plan, f.error);
                if args.len() > 2 {
                    for e in f
                        .world
                        .trace()
                        .entries()
                        .iter()
                        .rev()
                        .take(args[2] as usize)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                    {
                        match e {
                            tcp_keepalive::sim::trace::Entry::Sent(s) => println!(
                                "{:>14} {} {:?} {:?}",
                                s.at.as_micros(),
                                s.from == tcp_keepalive::sim::NodeId::from(s.from),
                                s.kind,
                                s.fate
                            ),
                            tcp_keepalive::sim::trace::Entry::Note(n) => {
                                println!("{:>14} {:?} {:?}", n.at.as_micros(), n.node, n.what)
                            }
                        }
                    }
                }
            }
        }
    }
    let e = t.elapsed().unwrap().as_secs_f64();
    println!(
        "fails {fails} hours {hours} probes {probes} network {nv} delays {n}; {e} s, {} h/s",
        hours / e
    );
}
