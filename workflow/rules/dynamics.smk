# Dynamical systems: trajectories, and the sparse equations that are found in them.


rule simulate_system:
    output:
        store=directory("results/dynamics/{system}/trajectories.zarr"),
    log:
        "logs/dynamics/{system}/simulate_system.log",
    benchmark:
        "logs/dynamics/{system}/simulate_system.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=240,
    params:
        cfg=lambda w: {"dynamics": dump(CONFIG.dynamics.simulation(w.system))},
        code=code("dynamics/simulate_system.py"),
    message:
        "Simulating {wildcards.system}"
    script:
        "../scripts/dynamics/simulate_system.py"
